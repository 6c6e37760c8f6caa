"""Clusters: as scikit-learn finds them, numbered by place, the same whatever the row order."""

from __future__ import annotations

import geopandas
import hypothesis.strategies as st
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geo_assets.core.clusters import cluster_boxes, cluster_polygons
from geo_assets.errors import AreaError, CampaignError
from geo_assets.storage.vectors import read_vector


def _squares(x, y, side=100.0, crs="EPSG:32632"):
    x, y = np.asarray(x, float), np.asarray(y, float)
    half = side / 2
    boxes = shapely.box(x - half, y - half, x + half, y + half)
    return geopandas.GeoDataFrame(geometry=boxes, crs=crs).to_crs("EPSG:4326")


def _scattered(count=60, seed=0):
    rng = np.random.default_rng(seed)
    return _squares(500000 + rng.uniform(0, 30000, count), 5.5e6 + rng.uniform(0, 20000, count))


def test_clusters_are_those_of_scikit_learn():
    frame = _scattered()
    metric = frame.to_crs("EPSG:32632").centroid
    points = np.column_stack([metric.x, metric.y])
    theirs = KMeans(5, n_init=50, random_state=1).fit(points)
    ours = cluster_polygons(frame, 5, seed=10).cluster
    inertia = sum(
        ((points[ours == k] - points[ours == k].mean(axis=0)) ** 2).sum() for k in range(5)
    )
    assert inertia <= theirs.inertia_ * 1.02
    assert adjusted_rand_score(ours, theirs.labels_) > 0.9


def test_clusters_are_numbered_from_west_to_east_then_from_south_to_north():
    frame = _squares([520000, 500000, 500000, 520050], [5.5e6, 5.6e6, 5.5e6, 5.5e6])
    assert cluster_polygons(frame, 3, seed=1).cluster.tolist() == [2, 1, 0, 2]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(25)))
def test_the_order_of_polygons_changes_nothing(order):
    frame = _scattered(25)
    ours = cluster_polygons(frame, 4, seed=3).cluster
    assert cluster_polygons(frame.iloc[list(order)], 4, seed=3).cluster.tolist() == [
        ours[i] for i in order
    ]


def test_the_same_seed_gives_the_same_clusters():
    first, again = (cluster_polygons(_scattered(), 7, seed=5).cluster for _ in range(2))
    assert first.tolist() == again.tolist()


def test_without_polygons_there_are_no_clusters_and_no_boxes():
    empty = _scattered(3)[:0]
    clustering = cluster_polygons(empty, 3, seed=1)
    assert clustering.cluster.shape == (0,)
    assert clustering.warnings == []
    assert cluster_boxes(empty.assign(cluster=clustering.cluster), 100) == []


def test_one_polygon_is_one_cluster_with_a_warning():
    clustering = cluster_polygons(_scattered(1), 3, seed=1)
    assert clustering.cluster.tolist() == [0]
    assert clustering.warnings == [
        "3 clusters are asked for, but there are only 1 polygons at 1 places: 1 clusters are made"
    ]


def test_identical_centroids_are_one_place():
    frame = _squares([500000] * 5 + [510000], [5.5e6] * 6)
    clustering = cluster_polygons(frame, 4, seed=1)
    assert clustering.cluster.tolist() == [0] * 5 + [1]
    assert "6 polygons at 2 places: 2 clusters" in clustering.warnings[0]


@pytest.mark.parametrize("limit", [2000.0, 5000.0, 12000.0])
def test_clusters_grow_until_their_boxes_are_small_enough(limit):
    frame = _scattered(80)
    clustering = cluster_polygons(frame, 2, seed=1, max_box_m=limit)
    boxes = cluster_boxes(frame.assign(cluster=clustering.cluster), 0, crs="EPSG:32632")
    assert max(max(box.width_m, box.height_m) for box in boxes) <= limit + 0.01
    assert clustering.warnings == []
    assert len(boxes) < 80 or limit < 3000
    again = cluster_polygons(frame, 2, seed=1, max_box_m=limit)
    assert again.cluster.tolist() == clustering.cluster.tolist()


def test_a_polygon_larger_than_the_limit_stays_alone_with_a_warning():
    frame = _squares([500000, 520000], [5.5e6] * 2, side=3000)
    clustering = cluster_polygons(frame, 1, seed=1, max_box_m=1000)
    assert clustering.cluster.tolist() == [0, 1]
    assert "clusters [0, 1] are longer than 1000 m" in clustering.warnings[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_clusters": 0}, "count 0: must be at least 1"),
        ({"n_clusters": 1, "max_box_m": 0.0}, "0.0 m: must be greater than 0"),
    ],
)
def test_impossible_wishes_are_refused(arguments, message):
    with pytest.raises(CampaignError, match=message):
        cluster_polygons(_scattered(3), seed=1, **arguments)


def test_polygons_of_opposite_sides_of_the_world_are_refused():
    frame = geopandas.GeoDataFrame(
        geometry=[shapely.box(9, 0.1, 9.1, 0.2), shapely.box(-81.1, 0.1, -81, 0.2)], crs="EPSG:4326"
    )
    with pytest.raises(AreaError, match="too far apart to be measured in one CRS"):
        cluster_polygons(frame, 2, seed=1)


def test_a_box_is_the_bounds_of_its_polygons_plus_the_buffer():
    frame = _squares([500000, 500400, 530000], [5.5e6, 5.5e6 + 300, 5.5e6])
    boxes = cluster_boxes(frame.assign(cluster=[0, 0, 1]), 2000)
    assert [box.cluster for box in boxes] == [0, 1]
    assert [box.polygons for box in boxes] == [2, 1]
    assert boxes[0].crs == "EPSG:32632"
    assert boxes[0].bounds == pytest.approx(
        (499950 - 2000, 5.5e6 - 50 - 2000, 500450 + 2000, 5.5e6 + 350 + 2000), abs=1e-3
    )


def test_each_cluster_has_the_zone_that_holds_it():
    frame = geopandas.GeoDataFrame(
        {"cluster": [0, 1, 2]},
        geometry=[
            shapely.box(10, 50, 10.1, 50.1),
            shapely.box(13, 50, 13.1, 50.1),
            shapely.box(39, -8, 39.1, -7.9),
        ],
        crs="EPSG:4326",
    )
    assert [box.crs for box in cluster_boxes(frame, 10)] == [
        "EPSG:32632",
        "EPSG:32633",
        "EPSG:32737",
    ]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3395", "EPSG:2263"])
def test_a_crs_whose_unit_is_no_metre_on_the_ground_is_refused(crs):
    with pytest.raises(CampaignError, match="does not measure metres on the ground"):
        cluster_boxes(_scattered(2).assign(cluster=0), 100, crs=crs)


def test_a_stated_metric_crs_is_taken():
    boxes = cluster_boxes(_scattered(2).assign(cluster=0), 100, crs="EPSG:3035")
    assert boxes[0].crs == "EPSG:3035"


def test_a_negative_buffer_is_refused():
    with pytest.raises(CampaignError, match="buffer_m -1"):
        cluster_boxes(_scattered(2).assign(cluster=0), -1)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("aberystwyth_landcover_polygons", "EPSG:32630"),
        ("slovenia_lulc_polygons", "EPSG:32633"),
        ("sacramento_delta_crops_2015", "EPSG:32610"),
        ("doeberitzer_multipolygon", "EPSG:32633"),
    ],
)
def test_real_areas_are_measured_in_their_zone(real_data, name, zone):
    frame = read_vector(real_data / "labels" / f"{name}.geojson")
    cluster = cluster_polygons(frame, 1, seed=10).cluster
    (box,) = cluster_boxes(frame.assign(cluster=cluster), 500)
    assert box.crs == zone
    west, south, east, north = box.wgs84_bounds()
    inside = frame.total_bounds
    assert west < inside[0]
    assert south < inside[1]
    assert east > inside[2]
    assert north > inside[3]
