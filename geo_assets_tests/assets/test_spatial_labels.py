from __future__ import annotations

import numpy as np
import pytest
import rasterio
from sklearn.cluster import KMeans

from geo_assets.assets.label_publication import ndvi_classes
from geo_assets.assets.spatial_labels import ndvi_spatial_labels
from geo_assets.campaign_labels import ModelFrom
from geo_assets.core.histogram_kmeans import fit_values
from geo_assets.core.label_smoothing import smooth_labels
from geo_assets.errors import ClusteringError, StorageError
from geo_assets.storage.cubes.opening import MISSING
from geo_assets.storage.layout import k_report_of, model_of
from geo_assets_tests.assets.label_cases import (
    DAYS,
    GRID,
    a_partition,
    read_json,
    read_labels,
    two_kinds,
    write_ndvi,
)

CLEAR = (0, 1, 3)
NORTH_TRAIN = ModelFrom(fold="north", split="train")


def labels_path(partition, day, cluster=0):
    return partition.layout.ndvi_spatial_labels(
        partition.fold, partition.split, cluster, str(DAYS[day])
    )


def test_each_clear_day_gets_the_labels_of_its_optimum(tmp_path, caplog):
    partition = a_partition(tmp_path)
    values, _ = two_kinds()
    write_ndvi(partition, values)

    facts = ndvi_spatial_labels.make(partition)

    assert facts["rasters"] == 3
    assert facts["without_raster"] == 1
    assert "2021-06-05: no labels: no pixel has a value" in caplog.text
    for number in CLEAR:
        path = labels_path(partition, number)
        with rasterio.open(path) as raster:
            labels = raster.read(1)
            assert raster.nodata == 0
            assert raster.transform == GRID.affine
            assert raster.crs == rasterio.crs.CRS.from_epsg(32632)
            assert raster.tags()["TIFFTAG_COPYRIGHT"] == "CC0-1.0"
        known = values[number] != MISSING
        assert ((labels > 0) == known).all()
        model = read_json(model_of(path))
        samples = values[number][known].astype(float)[:, None]
        peer = KMeans(5, n_init=10, random_state=0).fit(samples)
        assert model["inertia"] <= peer.inertia_ * (1 + 1e-9)
        means = [samples[labels[known] == k].mean() for k in range(1, 6)]
        assert means == sorted(means)
        np.testing.assert_allclose(means, model["centers"])


def test_classes_whose_centres_are_written_alike_have_different_names():
    classes = ndvi_classes(np.array([0.2, 0.41, 0.4104]))
    names = [name for name, _ in classes.values()]
    assert names == ["1: NDVI 0.200", "2: NDVI 0.410", "3: NDVI 0.410"]


def test_one_model_for_all_dates_of_a_cluster_is_that_of_all_its_values(tmp_path):
    partition = a_partition(tmp_path, spatial_labels={"fit": "cluster", "n_clusters": 3})
    values, _ = two_kinds()
    write_ndvi(partition, values)

    ndvi_spatial_labels.make(partition)

    pooled = fit_values(values, 3)
    shared = read_json(partition.layout.ndvi_spatial_model("north", "train", 0))
    assert shared["centers"] == pooled.centers.tolist()
    assert shared["fitted_on"] == "north|train cluster-0"
    for number in CLEAR:
        path = labels_path(partition, number)
        assert read_json(model_of(path))["centers"] == shared["centers"]
        known = values[number] != MISSING
        peer = np.abs(values[number][..., None] - pooled.centers).argmin(axis=-1) + 1
        np.testing.assert_array_equal(read_labels(path), np.where(known, peer, 0))


def test_one_model_for_a_partition_is_that_of_all_its_clusters(tmp_path):
    partition = a_partition(tmp_path, spatial_labels={"fit": "partition", "n_clusters": 3})
    first, second = two_kinds(1)[0], two_kinds(2)[0] // 2
    second[second == MISSING // 2] = MISSING
    write_ndvi(partition, first, 0)
    write_ndvi(partition, second, 1)

    ndvi_spatial_labels.make(partition)

    pooled = fit_values(np.stack([first, second]), 3).centers.tolist()
    for cluster in (0, 1):
        model = read_json(partition.layout.ndvi_spatial_model("north", "train", cluster))
        assert model["centers"] == pooled
        assert model["fitted_on"] == "north|train"


def test_a_model_of_another_partition_labels_this_one(tmp_path):
    rules = {"fit": "partition", "n_clusters": 3, "model_from": NORTH_TRAIN}
    train, test = (
        a_partition(tmp_path, key, spatial_labels=rules) for key in ("north|train", "south|test")
    )
    values, other = two_kinds(1)[0], two_kinds(2)[0]
    write_ndvi(train, values)
    write_ndvi(test, other)

    ndvi_spatial_labels.make(train)
    ndvi_spatial_labels.make(test)

    model = read_json(test.layout.ndvi_spatial_model("south", "test", 0))
    assert model["fitted_on"] == "north|train"
    assert model["centers"] == fit_values(values, 3).centers.tolist()
    labels = read_labels(labels_path(test, 0))
    nearest = np.abs(other[0][..., None] - np.array(model["centers"])).argmin(axis=-1) + 1
    np.testing.assert_array_equal(labels, np.where(other[0] == MISSING, 0, nearest))


def test_a_model_that_is_not_there_is_asked_for_by_name(tmp_path):
    rules = {"fit": "cluster", "model_from": NORTH_TRAIN}
    test = a_partition(tmp_path, "south|test", spatial_labels=rules)
    write_ndvi(test, two_kinds()[0])
    with pytest.raises(
        StorageError, match=r"materialize demo/ndvi_spatial_labels of north\|train first"
    ):
        ndvi_spatial_labels.make(test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 4}, r"n_clusters differ: the model of north\|train has 3, .* has 4"),
        ({"fit": "partition"}, r"fit differ: the model of north\|train has cluster, .* partition"),
    ],
)
def test_a_model_of_other_rules_is_refused_by_field(tmp_path, change, message):
    rules = {"fit": "cluster", "n_clusters": 3, "model_from": NORTH_TRAIN}
    train = a_partition(tmp_path, spatial_labels=rules)
    write_ndvi(train, two_kinds()[0])
    ndvi_spatial_labels.make(train)
    test = a_partition(tmp_path, "south|test", spatial_labels=rules | change)
    write_ndvi(test, two_kinds()[0])
    with pytest.raises(ClusteringError, match=message):
        ndvi_spatial_labels.make(test)


def test_of_several_models_the_cluster_must_be_named(tmp_path):
    rules = {"fit": "cluster", "n_clusters": 3, "model_from": NORTH_TRAIN}
    train = a_partition(tmp_path, spatial_labels=rules)
    for cluster in (0, 1):
        write_ndvi(train, two_kinds(cluster)[0], cluster)
    ndvi_spatial_labels.make(train)
    test = a_partition(tmp_path, "south|test", spatial_labels=rules)
    write_ndvi(test, two_kinds()[0])
    with pytest.raises(ClusteringError, match=r"model_from.cluster: missing; north\|train has a"):
        ndvi_spatial_labels.make(test)

    rules["model_from"] = ModelFrom(fold="north", split="train", cluster=9)
    other = a_partition(tmp_path, "south|test", spatial_labels=rules)
    with pytest.raises(
        ClusteringError,
        match=r"model_from.cluster: 9; north\|train has models of cluster-0, cluster-1",
    ):
        ndvi_spatial_labels.make(other)

    rules["model_from"] = ModelFrom(fold="north", split="train", cluster=1)
    test = a_partition(tmp_path, "south|test", spatial_labels=rules)
    ndvi_spatial_labels.make(test)
    model = read_json(test.layout.ndvi_spatial_model("south", "test", 0))
    assert model["fitted_on"] == "north|train cluster-1"


def test_of_models_of_tiles_none_can_be_named_and_the_way_out_is(tmp_path):
    lender = ModelFrom(fold="north", split="train", cluster=0)
    rules = {"fit": "cluster", "n_clusters": 3, "model_from": lender}
    train = a_partition(tmp_path, spatial_labels=rules)
    for tile in ("33UUU", "33UVU"):
        write_ndvi(train, two_kinds()[0], tile=tile)
    ndvi_spatial_labels.make(train)
    test = a_partition(tmp_path, "south|test", spatial_labels=rules)
    write_ndvi(test, two_kinds()[0])
    with pytest.raises(ClusteringError, match=r"cluster: 0; .*cluster-0-33UVU.* fit: partition"):
        ndvi_spatial_labels.make(test)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        "[]",
        '{"centers": [1, 2, 3], "boundaries": [], "counts": [1, 1, 1], "inertia": 0}',
        '{"centers": [1, 2], "boundaries": ["x"], "counts": [1, 1], "inertia": 0}',
        '{"centers": [1, 2], "boundaries": [1], "counts": [1, 1], "inertia": 0, "n_clusters": 3}',
    ],
)
def test_a_damaged_model_is_named(tmp_path, content):
    rules = {"fit": "cluster", "n_clusters": 3, "model_from": NORTH_TRAIN}
    train = a_partition(tmp_path, spatial_labels=rules)
    write_ndvi(train, two_kinds()[0])
    ndvi_spatial_labels.make(train)
    train.layout.ndvi_spatial_model("north", "train", 0).write_text(content)
    test = a_partition(tmp_path, "south|test", spatial_labels=rules)
    write_ndvi(test, two_kinds()[0])
    with pytest.raises(StorageError, match=r"cluster-0\.json: is no model \(.*materialize"):
        ndvi_spatial_labels.make(test)


def test_auto_reports_on_each_k_beside_the_raster(tmp_path):
    rules = {"n_clusters": "auto", "k_range": (2, 4), "fit": "cluster"}
    partition = a_partition(tmp_path, spatial_labels=rules)
    write_ndvi(partition, two_kinds()[0])

    facts = ndvi_spatial_labels.make(partition)

    path = partition.layout.ndvi_spatial_model("north", "train", 0)
    report = read_json(k_report_of(path))
    assert [row["k"] for row in report["rows"]] == [2, 3, 4]
    model = read_json(path)
    assert model["k_report"] == report
    assert len(model["centers"]) == report["chosen"] == model["n_clusters"]
    assert {"k_plot", "k_report", "k_rule"} <= set(facts)
    assert facts["clusters"] == report["chosen"]


def test_reports_of_all_dates_are_one_table(tmp_path):
    partition = a_partition(tmp_path, spatial_labels={"n_clusters": "auto", "k_range": (2, 3)})
    write_ndvi(partition, two_kinds()[0])

    facts = ndvi_spatial_labels.make(partition)

    rows = [record.data for record in facts["k_report"].records]
    models = list(dict.fromkeys(row["model"] for row in rows))
    assert len(models) == facts["rasters"] > 1
    assert [row["K"] for row in rows] == [2, 3] * len(models)
    assert sum(row["chosen"] == "yes" for row in rows) == len(models)


def test_smoothing_is_told_to_the_model_and_done_to_the_raster(tmp_path):
    plain = a_partition(tmp_path / "plain")
    smooth = a_partition(tmp_path / "smooth", spatial_labels={"smooth_px": 2})
    for partition in (plain, smooth):
        write_ndvi(partition, two_kinds()[0])
        ndvi_spatial_labels.make(partition)
    smoothed = read_labels(labels_path(smooth, 0))
    raw = read_labels(labels_path(plain, 0))
    np.testing.assert_array_equal(smoothed, smooth_labels(raw, 2))
    assert (smoothed != raw).any()
    assert read_json(model_of(labels_path(smooth, 0)))["smooth_px"] == 2


def test_a_day_of_fewer_values_than_clusters_has_its_reason_in_the_table(tmp_path):
    partition = a_partition(tmp_path)
    values, _ = two_kinds()
    values[1] = 5000
    write_ndvi(partition, values)
    facts = ndvi_spatial_labels.make(partition)
    rows = {row.data["day"]: row.data for row in facts["table"].records}
    assert rows["2021-05-04"]["note"] == "n_clusters: 5 clusters asked of 1 distinct values"
    assert rows["2021-02-03"]["note"] == ""


def test_a_partition_of_clouds_alone_fails_and_says_why(tmp_path):
    partition = a_partition(tmp_path)
    write_ndvi(partition, np.full((4, *GRID.shape.yx), MISSING, np.int16))
    with pytest.raises(
        ClusteringError,
        match=r"ndvi_spatial_labels north\|train: no raster could be made: "
        r"cluster-0 2021-02-03: no pixel has a value; .*",
    ):
        ndvi_spatial_labels.make(partition)


def test_a_failure_leaves_the_rasters_of_before(tmp_path):
    partition = a_partition(tmp_path)
    write_ndvi(partition, two_kinds()[0])
    ndvi_spatial_labels.make(partition)
    folder = partition.layout.ndvi_spatial_labels_folder("north", "train")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_ndvi(partition, np.full((4, *GRID.shape.yx), MISSING, np.int16))
    with pytest.raises(ClusteringError, match="no raster could be made"):
        ndvi_spatial_labels.make(partition)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_one_valid_date_is_enough(tmp_path):
    partition = a_partition(tmp_path, spatial_labels={"fit": "partition"})
    write_ndvi(partition, two_kinds()[0][:1], days=DAYS[:1])
    assert ndvi_spatial_labels.make(partition)["rasters"] == 1


def test_rasters_of_days_and_clusters_that_are_gone_are_removed(tmp_path):
    partition = a_partition(tmp_path)
    write_ndvi(partition, two_kinds()[0])
    folder = partition.layout.ndvi_spatial_labels_folder("north", "train")
    stale = [
        folder / "cluster-0" / "2020-01-01.tif",
        folder / "cluster-7" / "2021-02-03.tif",
        folder / "cluster-7.json",
    ]
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"old")

    ndvi_spatial_labels.make(partition)

    assert not any(path.exists() for path in stale)
    assert len(list(folder.rglob("*.tif"))) == 3
    assert len(list(folder.rglob("*.json"))) == 3


def test_a_partition_without_cubes_is_an_empty_success(tmp_path):
    for rules in ({}, {"model_from": NORTH_TRAIN, "fit": "cluster"}):
        partition = a_partition(tmp_path, "north|test", spatial_labels=rules)
        facts = ndvi_spatial_labels.make(partition)
        assert facts["empty"]
        assert facts["rasters"] == 0


def test_a_cube_without_any_date_is_an_answer_not_a_failure(tmp_path):
    partition = a_partition(tmp_path)
    write_ndvi(partition, np.zeros((0, *GRID.shape.yx), np.int16), days=DAYS[:0])
    facts = ndvi_spatial_labels.make(partition)
    assert facts["empty"]
    assert [row.data["note"] for row in facts["table"].records] == ["the cube has no date"]
