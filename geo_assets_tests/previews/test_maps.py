"""The cluster map on real and made polygons."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geo_assets.core.areas import ClusterBox
from geo_assets.previews.cartography import extent
from geo_assets.previews.maps import clusters_map
from geo_assets.previews.palette import class_colours, rgb_of


def boxes_of(frame, buffer_m=300.0):
    crs = frame.estimate_utm_crs()
    metric = frame.to_crs(crs)
    boxes = []
    for cluster in sorted(frame["cluster"].unique()):
        own = metric[metric["cluster"] == cluster]
        west, south, east, north = own.total_bounds
        bounds = (west - buffer_m, south - buffer_m, east + buffer_m, north + buffer_m)
        boxes.append(ClusterBox(int(cluster), crs.to_string(), bounds, len(own)))
    return boxes


def squares(corners, side=0.01, clusters=None):
    shapes = [shapely.box(x, y, x + side, y + side) for x, y in corners]
    clusters = list(range(len(corners))) if clusters is None else clusters
    return gpd.GeoDataFrame({"cluster": clusters}, geometry=shapes, crs=4326)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("aberystwyth_landcover_polygons", 3),
        ("sacramento_delta_crops_2015", 6),
        ("tanzania_crop_fields_2018", 14),
        ("doeberitzer_multipolygon", 1),
    ],
)
def test_real_areas_are_mapped_below_the_bound(real_data, opened, name, count):
    frame = gpd.read_file(real_data / "labels" / f"{name}.geojson")
    order = frame.to_crs(3857).centroid.x.rank(method="first").to_numpy() - 1
    frame["cluster"] = (order * count // len(frame)).astype(int)

    pixels = opened(clusters_map(frame[["geometry", "cluster"]], boxes_of(frame), title=name))

    for colour in class_colours(min(count, 6)):
        assert (pixels == rgb_of(colour)).all(axis=2).sum() > 100


def test_clusters_lie_on_the_map_as_on_the_ground(opened):
    frame = squares([(36.0, -2.0), (36.3, -2.3)], side=0.05)
    pixels = opened(clusters_map(frame, boxes_of(frame)))[:, :420]
    first, second = (
        np.argwhere((pixels == rgb_of(colour)).all(axis=2)) for colour in class_colours(2)
    )
    first, second = first[first[:, 0] < 430], second[second[:, 0] < 430]  # without the legend

    assert first[:, 0].mean() < second[:, 0].mean(), "the northern one is above"
    assert first[:, 1].mean() < second[:, 1].mean(), "the western one is at the left"


def test_a_hole_in_a_polygon_stays_open(opened):
    ring = shapely.box(0, 0, 1, 1).difference(shapely.box(0.3, 0.3, 0.7, 0.7))
    # The map must not trust the direction in which a file stores its rings.
    for shape in (ring, shapely.orient_polygons(ring, exterior_cw=True), shapely.normalize(ring)):
        frame = gpd.GeoDataFrame({"cluster": [0]}, geometry=[shape], crs=4326)
        pixels = opened(clusters_map(frame, boxes_of(frame)))
        fill = (pixels == rgb_of(class_colours(1)[0])).all(axis=2)

        assert fill[230, 80:360].mean() < 0.75
        assert not fill[200:260, 200:250].any()


def test_polygons_too_small_for_the_map_are_marked(opened):
    frame = squares([(36.0, -2.0), (38.0, -4.0)], side=0.0001)
    pixels = opened(clusters_map(frame, boxes_of(frame)))

    assert (pixels[:440, 30:420] == rgb_of(class_colours(1)[0])).all(axis=2).sum() > 4


def test_boxes_of_another_zone_are_brought_onto_the_map(opened):
    frame = squares([(35.9, -2.0), (36.1, -2.0)])
    boxes = boxes_of(frame)
    metric = frame.to_crs(32736)
    west, south, east, north = metric.total_bounds
    other = ClusterBox(0, "EPSG:32736", (west, south, east, north), 1)

    opened(clusters_map(frame, [other, boxes[1]]))


def test_no_areas_are_a_calm_picture(opened):
    empty = gpd.GeoDataFrame({"cluster": []}, geometry=[], crs=4326)

    assert opened(clusters_map(empty, [])).shape[0] < 200


def test_the_same_areas_give_the_same_bytes():
    frame = squares([(36.0, -2.0), (36.3, -2.3)])

    assert clusters_map(frame, boxes_of(frame)) == clusters_map(frame, boxes_of(frame))


def test_an_extent_has_the_proportions_of_its_place_and_holds_the_bounds():
    west, south, east, north = extent((0, 0, 100, 10), 300, 200)

    assert west < 0
    assert east > 100
    assert south < 0
    assert north > 10
    assert (east - west) / (north - south) == pytest.approx(1.5)
