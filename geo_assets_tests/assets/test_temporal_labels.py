from __future__ import annotations

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from sklearn.metrics import adjusted_rand_score

from geo_assets.assets.temporal_labels import ndvi_temporal_labels
from geo_assets.campaign_labels import ModelFrom
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

RULES = {"n_clusters": 2, "every": "date", "max_gap_days": 200}
NORTH_TRAIN = ModelFrom(fold="north", split="train")
MONTHS = np.array([f"2021-{month:02}-15" for month in range(1, 13)], "datetime64[D]")


def of(partition, cluster=0):
    return partition.layout.ndvi_temporal_labels(partition.fold, partition.split, cluster)


def months(seed=0, gaps=0.0, grid=GRID):
    """Twelve months of two kinds of land, a share of the values missing; and the kinds."""
    rng = np.random.default_rng(seed)
    kind = np.zeros(grid.shape.yx, int)
    kind[:, grid.shape.x // 2 :] = 1
    phase = np.linspace(0, 2 * np.pi, 12)
    seasons = np.stack([4000 - 3000 * np.cos(phase), 5000 + 1000 * np.sin(phase)])
    values = seasons[kind].transpose(2, 0, 1) + rng.normal(0, 200, (12, *grid.shape.yx))
    values = values.astype(np.int16)
    values[rng.random(values.shape) < gaps] = MISSING
    return values, kind


def test_series_are_told_apart_where_one_day_cannot(tmp_path):
    partition = a_partition(tmp_path, temporal_labels=RULES)
    values, kind = two_kinds(2)
    write_ndvi(partition, values)

    facts = ndvi_temporal_labels.make(partition)

    labels = read_labels(of(partition))
    assert (labels[:5, :5] == 0).all()
    known = labels > 0
    assert adjusted_rand_score(labels[known], kind[known]) == 1.0
    model = read_json(model_of(of(partition)))
    assert model["steps"] == model["features"] == [str(day) for day in DAYS]
    assert model["filled_share"] == pytest.approx(0.25)  # the cloudy day, between two clear ones
    assert facts["rasters"] == 1


def test_with_ignore_a_pixel_with_gaps_is_labelled_by_what_is_known(tmp_path):
    values, kind = months(gaps=0.3)
    rules = {"n_clusters": 2}
    filled = a_partition(tmp_path / "fill", temporal_labels=rules | {"max_gap_days": 0})
    ignored = a_partition(tmp_path / "ignore", temporal_labels=rules | {"missing": "ignore"})
    for partition in (filled, ignored):
        write_ndvi(partition, values, days=MONTHS)
        ndvi_temporal_labels.make(partition)

    assert (read_labels(of(filled)) > 0).mean() < 0.1
    labels = read_labels(of(ignored))
    assert (labels > 0).mean() > 0.99
    known = labels > 0
    assert adjusted_rand_score(labels[known], kind[known]) > 0.98
    model = read_json(model_of(of(ignored)))
    assert model["missing"] == "ignore"
    assert model["filled_share"] == 0


def test_of_a_step_that_nobody_saw_no_centre_is_invented(tmp_path):
    """March is all cloud, and July where the second kind of land lies."""
    rules = {"n_clusters": 2, "missing": "ignore", "model_from": NORTH_TRAIN}
    train = a_partition(tmp_path, temporal_labels=rules)
    values, kind = months()
    clear = values.copy()
    values[2] = MISSING
    values[6, kind == 1] = MISSING
    write_ndvi(train, values, days=MONTHS)
    facts = ndvi_temporal_labels.make(train)

    assert {"series", "rebuilt"} <= set(facts)
    centers = read_json(model_of(of(train)))["centers"]
    labels = read_labels(of(train))
    assert adjusted_rand_score(labels.ravel(), kind.ravel()) > 0.98
    for center, own in zip(centers, (1, 2), strict=True):
        unseen = {2, 6} if (kind[labels == own] == 1).mean() > 0.5 else {2}
        assert {step for step, value in enumerate(center) if value is None} == unseen
    means = [np.mean([value for value in center if value is not None]) for center in centers]
    assert means == sorted(means)
    with rasterio.open(of(train)) as raster:
        names = [raster.tags(1)[f"CLASS_{own}"] for own in (1, 2)]
    assert names == [f"{own}: NDVI {mean:.3f}" for own, mean in enumerate(means, start=1)]

    test = a_partition(tmp_path, "south|test", temporal_labels=rules)
    write_ndvi(test, clear, days=MONTHS)
    ndvi_temporal_labels.make(test)
    assert read_json(model_of(of(test)))["centers"] == centers
    assert adjusted_rand_score(read_labels(of(test)).ravel(), kind.ravel()) > 0.98


def test_one_model_for_a_partition_labels_its_clusters_alike(tmp_path):
    partition = a_partition(tmp_path, temporal_labels={"n_clusters": 2, "fit": "partition"})
    values, _ = months(1)
    other = np.ascontiguousarray(months(2)[0][:, :, ::-1])
    write_ndvi(partition, values, 0, MONTHS)
    write_ndvi(partition, other, 1, MONTHS)

    ndvi_temporal_labels.make(partition)

    models = [read_json(model_of(of(partition, cluster))) for cluster in (0, 1)]
    assert models[0]["centers"] == models[1]["centers"]
    assert {model["fitted_on"] for model in models} == {"north|train"}
    first, second = (read_labels(of(partition, cluster)) for cluster in (0, 1))
    np.testing.assert_array_equal(first, second[:, ::-1])


def test_one_model_for_series_of_other_dates_is_refused_by_area_and_field(tmp_path):
    """As many dates, on other days: pooled, July of one would be called June of the other."""
    rules = RULES | {"fit": "partition"}
    partition = a_partition(tmp_path, temporal_labels=rules)
    values, _ = two_kinds()
    write_ndvi(partition, values, 0)
    write_ndvi(partition, values, 1, days=DAYS + np.timedelta64(3, "D"))
    with pytest.raises(
        ClusteringError,
        match=r"fit: partition .* time_axis differ: cluster-0 has \['2021-02-03'.*, cluster-1 has "
        r"\['2021-02-06'.*set fit: cluster",
    ):
        ndvi_temporal_labels.make(partition)


def test_series_of_other_dates_have_a_model_each_with_fit_cluster(tmp_path):
    partition = a_partition(tmp_path, temporal_labels=RULES)
    values, _ = two_kinds()
    write_ndvi(partition, values, 0)
    write_ndvi(partition, values[:3], 1, days=DAYS[:3] + np.timedelta64(3, "D"))
    assert ndvi_temporal_labels.make(partition)["rasters"] == 2


def test_the_model_of_train_labels_test_of_another_year(tmp_path):
    rules = {"n_clusters": 2, "model_from": NORTH_TRAIN}
    train = a_partition(tmp_path, temporal_labels=rules)
    write_ndvi(train, months(1)[0], days=MONTHS)
    ndvi_temporal_labels.make(train)
    test = a_partition(tmp_path, "south|test", temporal_labels=rules)
    campaign = test.campaign.model_copy(
        update={"start": train.campaign.start.replace(year=2022),
                "end": train.campaign.end.replace(year=2022)}
    )  # fmt: skip
    object.__setattr__(test, "campaign", campaign)
    values, kind = months(2)
    write_ndvi(test, values, days=MONTHS + np.timedelta64(365, "D"))

    ndvi_temporal_labels.make(test)

    own, borrowed = (read_json(model_of(of(partition))) for partition in (train, test))
    assert borrowed["centers"] == own["centers"]
    assert borrowed["fitted_on"] == "north|train cluster-0"
    assert borrowed["steps"][0] == "2022-01-01"
    labels = read_labels(of(test))
    assert adjusted_rand_score(labels.ravel(), kind.ravel()) > 0.99


def test_what_was_filled_is_told_of_an_area_that_another_model_labels(tmp_path):
    rules = RULES | {"model_from": NORTH_TRAIN}
    values, _ = two_kinds()
    models = []
    for key in ("north|train", "south|test"):
        partition = a_partition(tmp_path, key, temporal_labels=rules)
        write_ndvi(partition, values)
        ndvi_temporal_labels.make(partition)
        models.append(read_json(model_of(of(partition))))
    assert models[1]["fitted_on"] == "north|train cluster-0"
    for model in models:
        assert model["filled_share"] == pytest.approx(0.25)
        assert model["held_share"] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"every": "10d", "max_gap_days": 200}, "every differ: .* has month, .* has 10d"),
        ({"max_gap_days": 45}, "max_gap_days differ: .* has 62, .* has 45"),
        ({"missing": "ignore"}, "missing differ: .* has fill, .* has ignore"),
        ({"scaling": "none"}, "scaling differ: .* has common-robust, .* has none"),
        ({"n_clusters": 3}, "n_clusters differ: .* has 2, .* has 3"),
        ({"fit": "partition"}, "fit differ: .* has cluster, .* has partition"),
    ],
)
def test_a_model_of_other_rules_is_refused_by_field(tmp_path, change, field):
    rules = {"n_clusters": 2, "model_from": NORTH_TRAIN}
    train = a_partition(tmp_path, temporal_labels=rules)
    write_ndvi(train, months()[0], days=MONTHS)
    ndvi_temporal_labels.make(train)
    test = a_partition(tmp_path, "south|test", temporal_labels=rules | change)
    write_ndvi(test, months()[0], days=MONTHS)
    with pytest.raises(ClusteringError, match=field):
        ndvi_temporal_labels.make(test)


def test_a_model_of_other_months_is_refused(tmp_path):
    rules = {"n_clusters": 2, "model_from": NORTH_TRAIN}
    train = a_partition(tmp_path, temporal_labels=rules)
    write_ndvi(train, months()[0], days=MONTHS)
    ndvi_temporal_labels.make(train)
    test = a_partition(tmp_path, "south|test", temporal_labels=rules)
    shorter = test.campaign.model_copy(update={"end": test.campaign.end.replace(month=10)})
    object.__setattr__(test, "campaign", shorter)
    write_ndvi(test, months()[0][:10], days=MONTHS[:10])
    with pytest.raises(
        ClusteringError, match=r"time_axis differ: the model of north\|train has .*'12'\], south"
    ):
        ndvi_temporal_labels.make(test)


def test_a_model_that_is_not_there_is_asked_for_by_name(tmp_path):
    test = a_partition(tmp_path, "south|test", temporal_labels={"model_from": NORTH_TRAIN})
    write_ndvi(test, months()[0], days=MONTHS)
    with pytest.raises(
        StorageError, match=r"materialize demo/ndvi_temporal_labels of north\|train first"
    ):
        ndvi_temporal_labels.make(test)


def test_auto_reports_on_each_k_beside_the_raster(tmp_path):
    rules = {"n_clusters": "auto", "k_range": (2, 4)}
    partition = a_partition(tmp_path, temporal_labels=rules)
    write_ndvi(partition, months()[0], days=MONTHS)

    facts = ndvi_temporal_labels.make(partition)

    report = read_json(k_report_of(of(partition)))
    assert report["chosen"] == 2
    model = read_json(model_of(of(partition)))
    assert model["k_report"] == report
    assert len(model["centers"]) == 2
    assert {"k_plot", "k_report", "series"} <= set(facts)


def test_place_parts_what_values_cannot(tmp_path):
    """Four corners of noise: with weight, clusters lie together; without, they are scattered."""
    rng = np.random.default_rng(3)
    values = rng.normal(5000, 300, (12, *GRID.shape.yx)).astype(np.int16)
    scattered = a_partition(tmp_path / "0", temporal_labels={"n_clusters": 4})
    placed = a_partition(tmp_path / "1", temporal_labels={"n_clusters": 4, "position_weight": 10.0})
    edges = {}
    for name, partition in (("scattered", scattered), ("placed", placed)):
        write_ndvi(partition, values, days=MONTHS)
        ndvi_temporal_labels.make(partition)
        labels = read_labels(of(partition))
        edges[name] = (labels[:, 1:] != labels[:, :-1]).mean()
    assert edges["placed"] < 0.1 < edges["scattered"]
    model = read_json(model_of(of(placed)))
    assert model["features"][-2:] == ["easting", "northing"]
    assert model["units"][-2:] == ["m", "m"]
    assert model["scales"][-1] == model["scales"][-2]
    means = np.array(model["centers"])[:, :-2].mean(axis=1)
    assert means.tolist() == sorted(means)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:2263"])
def test_place_in_degrees_feet_or_mercator_is_refused(tmp_path, crs):
    partition = a_partition(tmp_path, temporal_labels={"position_weight": 1.0})
    grid = GeoBox((20, 20), GRID.affine.scale(1e-5, 1e-5), crs)
    write_ndvi(partition, months(grid=grid)[0], days=MONTHS, grid=grid)
    with pytest.raises(ClusteringError, match=r"needs a grid in metres.*set grid\.crs"):
        ndvi_temporal_labels.make(partition)


def test_smoothing_is_done_after_the_labels_are_found(tmp_path):
    values, _ = months()
    plain = a_partition(tmp_path / "0", temporal_labels={"n_clusters": 3})
    smooth = a_partition(tmp_path / "1", temporal_labels={"n_clusters": 3, "smooth_px": 1})
    for partition in (plain, smooth):
        write_ndvi(partition, values, days=MONTHS)
        ndvi_temporal_labels.make(partition)
    np.testing.assert_array_equal(read_labels(of(smooth)), smooth_labels(read_labels(of(plain)), 1))


def test_a_cluster_without_labels_has_its_reason_in_the_table(tmp_path, caplog):
    partition = a_partition(tmp_path, temporal_labels={"n_clusters": 2})
    write_ndvi(partition, months()[0], 0, MONTHS)
    write_ndvi(partition, np.full_like(months()[0], MISSING), 1, MONTHS)
    facts = ndvi_temporal_labels.make(partition)
    assert facts["rasters"] == facts["without_raster"] == 1
    rows = {row.data["area"]: row.data["note"] for row in facts["table"].records}
    assert rows["cluster-0"] == ""
    assert "raise temporal_labels.max_gap_days (62)" in rows["cluster-1"]
    assert "cluster-1: no labels: no pixel has a value in each of the 12 steps" in caplog.text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((4, *GRID.shape.yx), MISSING, np.int16), "no pixel has a value in each"),
        (two_kinds()[0], "no pixel has a value in each of the 12 steps of month"),
    ],
    ids=["all cloud", "four days of twelve months"],
)
def test_a_partition_without_any_labels_fails_and_says_why(tmp_path, values, reason):
    partition = a_partition(tmp_path)
    write_ndvi(partition, values)
    with pytest.raises(
        ClusteringError,
        match=rf"ndvi_temporal_labels north\|train: no raster could be made: cluster-0: {reason}",
    ):
        ndvi_temporal_labels.make(partition)


def test_more_clusters_than_series_are_refused_by_number(tmp_path):
    partition = a_partition(tmp_path, temporal_labels={"n_clusters": 9})
    write_ndvi(partition, np.full((12, *GRID.shape.yx), 4000, np.int16), days=MONTHS)
    with pytest.raises(ClusteringError, match="9 clusters asked of 1 distinct pixels"):
        ndvi_temporal_labels.make(partition)


def test_a_failure_leaves_the_rasters_of_before(tmp_path):
    few = a_partition(tmp_path, temporal_labels={"n_clusters": 2})
    write_ndvi(few, months()[0], days=MONTHS)
    ndvi_temporal_labels.make(few)
    folder = few.layout.ndvi_temporal_labels("north", "train", 0).parent
    before = {path: path.read_bytes() for path in folder.iterdir()}
    write_ndvi(few, np.full((12, *GRID.shape.yx), 4000, np.int16), days=MONTHS)
    with pytest.raises(ClusteringError, match="2 clusters asked of 1 distinct pixels"):
        ndvi_temporal_labels.make(few)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_one_valid_date_makes_an_axis_of_one_step(tmp_path):
    partition = a_partition(tmp_path, temporal_labels={"every": "date", "n_clusters": 2})
    write_ndvi(partition, two_kinds()[0][:1], days=DAYS[:1])
    assert ndvi_temporal_labels.make(partition)["rasters"] == 1
    assert len(read_json(model_of(of(partition)))["features"]) == 1


@pytest.mark.parametrize("fit", ["cluster", "partition"])
def test_a_partition_without_cubes_is_an_empty_success(tmp_path, fit):
    partition = a_partition(tmp_path, temporal_labels={"fit": fit})
    facts = ndvi_temporal_labels.make(partition)
    assert facts["empty"]
    assert facts["rasters"] == 0


def test_blocks_of_any_size_give_the_same_labels(tmp_path, monkeypatch):
    values, _ = months(gaps=0.1)
    rasters = []
    for number, edge in enumerate((1024, 32)):
        monkeypatch.setattr("geo_assets.products.labels.features._EDGE", edge)
        partition = a_partition(tmp_path / str(number), temporal_labels={"n_clusters": 3})
        write_ndvi(partition, values, days=MONTHS)
        ndvi_temporal_labels.make(partition)
        rasters.append(of(partition).read_bytes())
    assert rasters[0] == rasters[1]


def test_a_cube_without_any_date_is_an_answer_not_a_failure(tmp_path):
    partition = a_partition(tmp_path)
    write_ndvi(partition, np.zeros((0, *GRID.shape.yx), np.int16), days=DAYS[:0])
    facts = ndvi_temporal_labels.make(partition)
    assert facts["empty"]
    assert [row.data["note"] for row in facts["table"].records] == ["the cube has no date"]
