"""K reports, followed labels and borrowed models on the simulated archive; bad input to each."""

from __future__ import annotations

import itertools
import json

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, silhouette_score
from sklearn.preprocessing import RobustScaler

from geo_assets.campaign_file import load_campaign
from geo_assets.campaign_labels import ModelFrom
from geo_assets.core.histogram_kmeans import histogram_of
from geo_assets.core.indices import quantise_index
from geo_assets.core.k_report import histogram_report
from geo_assets.core.label_fit import FitRules, fit_labels
from geo_assets.core.workers import Threads
from geo_assets.errors import ClusteringError, StorageError
from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets.products.labels.areas import pooled_sample, sample_area
from geo_assets.products.labels.features import NdviDays, NdviSeries
from geo_assets.storage.cubes.opening import MISSING
from geo_assets.storage.layout import model_of
from geo_assets_tests.acceptance.support import ARCHIVE, Workplace, materialize, metadata_of, say
from geo_assets_tests.assets.label_cases import GRID
from geo_assets_tests.storage.cubes.written_cube import write_cube

SEEDS = range(5)
CUT_PARTITION = "south|train"
"""Amid whose fields the archive's clear-cut lies."""
MONTHS = np.array([f"2021-{month:02}-15" for month in range(1, 13)], "datetime64[ms]")


@pytest.fixture(scope="module")
def work(demo, tmp_path_factory):
    return demo.place.copy(tmp_path_factory.mktemp("clustering"))


# K report


@pytest.fixture(scope="module")
def areas(work, full):
    """NDVI series of clusters of the demo, by name."""
    campaign = load_campaign("demo")
    layout = work.layout(campaign)
    rules = campaign.temporal_labels
    chosen = [(key, k) for key in partition_keys(campaign) for k in (0, 1)]
    return {
        f"{key} cluster {cluster}": NdviSeries(
            NdviDays.of(layout.ndvi_cube(*fold_and_split(key), cluster)),
            rules.every,
            rules.max_gap_days,
            rules.missing,
            (str(campaign.start), str(campaign.end)),
        )
        for key, cluster in (chosen if full else chosen[:2])
    }


def drawn(area, seed, size=50_000):
    sample = sample_area(area, Threads(), size=size, seed=seed)
    return pooled_sample({"one": area}, {"one": sample}, size)


@pytest.mark.timeout(3600)  # twelve clusters in full
def test_the_rule_picks_the_same_k_for_five_seeds(areas):
    for name, area in areas.items():
        chosen = set()
        for seed in SEEDS:
            values, folds = drawn(area, seed)
            rules = FitRules("auto", (2, 10), "common-robust", "fill", 0.0, seed, 5)
            report = fit_labels(values, rules, folds).report
            chosen.add(report.chosen)
        say(f"{name:24} K = {sorted(chosen)} for {len(SEEDS)} seeds")
        assert len(chosen) == 1, name


def peer_fit(sample, k):
    return KMeans(k, n_init=20, random_state=1).fit(sample)


def assert_each_criterion_is_that_of_scikit_learn(report, sample, folds):
    """Compare a report with fits of scikit-learn alone, to what two good fits differ by."""
    rng = np.random.default_rng(0)
    for row in report.rows:
        peer = peer_fit(sample, row.k)
        assert row.inertia == pytest.approx(peer.inertia_, rel=1e-3)
        assert row.silhouette == pytest.approx(silhouette_score(sample, peer.labels_), abs=5e-3)
        index = calinski_harabasz_score(sample, peer.labels_)
        assert row.calinski_harabasz == pytest.approx(index, rel=1e-3)
        own, other = (peer_fit(sample[half], row.k).predict(sample) for half in (~folds, folds))
        assert row.stability_folds == pytest.approx(adjusted_rand_score(own, other), abs=0.02)
        if row.stability_seeds is not None:
            halves = [rng.permutation(len(sample))[: len(sample) // 2] for _ in range(5)]
            fits = [peer_fit(sample[half], row.k).predict(sample) for half in halves]
            pairs = [adjusted_rand_score(*pair) for pair in itertools.combinations(fits, 2)]
            # Halves are drawn at random, here others than there.
            assert row.stability_seeds == pytest.approx(np.mean(pairs), abs=0.15)


@pytest.mark.parametrize("scaling", ["common-robust", "robust"])
def test_each_criterion_of_labels_of_pixels_is_that_of_scikit_learn(areas, scaling):
    values, folds = drawn(next(iter(areas.values())), 3, 2_500)
    rules = FitRules("auto", (3, 6), scaling, "fill", 0.0, 1, 10)

    report = fit_labels(values, rules, folds).report

    # One scale for all steps of a series; one for each band of land cover.
    plain = values.astype(np.float64)
    column = plain.reshape(-1, 1) if scaling == "common-robust" else plain
    scaled = RobustScaler().fit_transform(column).reshape(plain.shape)
    assert_each_criterion_is_that_of_scikit_learn(report, scaled, folds)


def test_each_criterion_of_labels_of_one_date_is_that_of_scikit_learn(areas):
    series, folds = drawn(next(iter(areas.values())), 3, 2_500)
    values = quantise_index(series[:, 1])

    report = histogram_report(
        np.stack([histogram_of(values[~folds]), histogram_of(values[folds])]), (2, 5)
    )

    assert report.sample_size == len(values)
    assert_each_criterion_is_that_of_scikit_learn(report, values[:, np.newaxis] * 1.0, folds)


# following labels: the clear-cut


@pytest.fixture(scope="module")
def clear_cut(work):
    """Where the wood is felled in the cluster that holds it, and what else is known there."""
    campaign = load_campaign("demo")
    layout = work.layout(campaign)
    cut = json.loads((work.data / ARCHIVE / "truth/clear_cut.json").read_text())
    for cluster in (0, 1):
        path = layout.ndvi_label_changes(*fold_and_split(CUT_PARTITION), cluster)
        with rasterio.open(path) as raster:
            bands, shape, transform, crs = raster.read(), raster.shape, raster.transform, raster.crs
        outline = geopandas.GeoSeries([shapely.geometry.shape(cut["polygon"])], crs=4326)
        outline = outline.to_crs(crs)
        inside, near = (
            rasterio.features.rasterize(outline.buffer(by), shape, transform=transform) == 1
            for by in (-20, 20)
        )
        if inside.any():
            break
    with rasterio.open(work.data / ARCHIVE / f"truth/land_cover-{crs.to_epsg()}.tif") as cover:
        row, col = cover.index(*(transform @ (0.5, 0.5)))
        window = rasterio.windows.Window(col, row, shape[1], shape[0])
        forest = cover.read(1, window=window, boundless=True, fill_value=0) == cut["truth_value"]
    tables = json.loads(model_of(path).read_text())
    labels = {
        day["day"]: rasterio.open(
            layout.ndvi_spatial_labels(*fold_and_split(CUT_PARTITION), cluster, day["day"])
        ).read(1)
        for day in tables["dates"]
    }
    return cut, bands, inside, forest & ~near, tables, labels


def test_the_change_map_shows_the_clear_cut_and_no_other_wood(clear_cut):
    cut, bands, inside, standing, tables, labels = clear_cut
    _, drop, before, after = bands
    dropped = drop > 0
    say(
        f"clear-cut of {inside.sum()} pixels: {dropped[inside].mean():.1%} found; of "
        f"{standing.sum()} pixels of standing forest {dropped[standing].mean():.2%} dropped"
    )
    assert dropped[inside].mean() > 0.99
    assert dropped[standing].mean() < 0.005
    assert ((before - after.astype(int))[inside] >= 2).mean() > 0.99
    days = np.array([date["day"] for date in tables["dates"]])
    seen = np.stack([labels[day] > 0 for day in days])
    later = seen & (days >= cut["date"])[:, None, None]
    first_after = later.argmax(axis=0) + 1
    assert (drop[inside] == first_after[inside]).mean() > 0.99


def test_the_transition_table_shows_the_clear_cut(clear_cut):
    cut, _, inside, _, tables, labels = clear_cut
    days = [date["day"] for date in tables["dates"]]
    number = next(n for n, day in enumerate(days) if day >= cut["date"]) - 1
    step = tables["between_dates"][number]
    assert step["from"] < cut["date"] <= step["to"]
    pixels = np.array(step["pixels"])
    one, other = labels[step["from"]], labels[step["to"]]
    np.testing.assert_array_equal(pixels.sum(), ((one > 0) & (other > 0)).sum())
    dense, bare = len(pixels) - 1, 2
    felled = inside & (one > 0) & (other > 0)
    assert felled.sum() > 300  # what clouds leave of it on both days
    into_bare = pixels[dense, :bare].sum()
    say(f"{step['from']} to {step['to']}: {into_bare} pixels from dense to bare, {felled.sum()} of")
    say("them inside the clear-cut")
    assert (one[felled] == dense + 1).mean() > 0.99
    assert (other[felled] <= bare).mean() > 0.99
    assert into_bare >= 0.99 * felled.sum()
    assert felled.sum() > 0.5 * into_bare  # nothing else of its size happened


def test_followed_labels_are_of_one_model_and_agree_with_the_series(work):
    campaign = load_campaign("demo")
    layout = work.layout(campaign)
    for key in partition_keys(campaign):
        place = fold_and_split(key)
        followed = sorted(layout.ndvi_label_changes_folder(*place).glob("*.json"))
        assert len(followed) == 2
        for path in followed:
            told = json.loads(path.read_text())
            dates = told["dates"]
            of_dates = sorted((layout.ndvi_spatial_labels_folder(*place) / path.stem).glob("*.tif"))
            assert [labels.stem for labels in of_dates] == [date["day"] for date in dates]
            centers = [json.loads(model_of(labels).read_text())["centers"] for labels in of_dates]
            assert all(each == centers[0] for each in centers)
            assert told["centers"] == pytest.approx(np.array(centers[0]) * 1e-4)
            agreement = [d["adjusted_rand"] for d in dates if d["adjusted_rand"] is not None]
            assert max(agreement) > 0.3
            assert all(sum(d["shares"]) == pytest.approx(1) for d in dates)


# models of another partition


def test_a_run_over_all_partitions_begins_with_the_model_that_labels_them(work, tmp_path):
    """``south|train`` comes late in a range; its model labels the partitions before it."""
    lender = ModelFrom(fold="south", split="train")
    campaign = load_campaign("demo")
    rules = campaign.temporal_labels.model_copy(
        update={"model_from": lender, "fit": "partition", "n_clusters": 6}
    )
    cover = campaign.land_cover.model_copy(update={"model_from": lender, "fit": "partition"})
    campaign = campaign.model_copy(update={"temporal_labels": rules, "land_cover": cover})
    place = work.copy(tmp_path)
    names = ("ndvi_temporal_labels", "land_cover_labels")

    result = materialize(campaign, place, names)

    layout = place.layout(campaign)
    for asset in names:
        facts = metadata_of(result, campaign, asset)
        assert set(facts) == set(partition_keys(campaign))
        models = [
            json.loads(model_of(path).read_text())
            for key in partition_keys(campaign)
            for path in sorted((layout.folder / asset).joinpath(*fold_and_split(key)).glob("*.tif"))
        ]
        assert len(models) == 12
        assert {json.dumps(model["centers"]) for model in models} == {
            json.dumps(models[0]["centers"])
        }
        assert {model["fitted_on"] for model in models} == {CUT_PARTITION}


def test_a_partition_alone_asks_for_the_model_it_needs(tmp_path):
    campaign = load_campaign("demo")
    rules = campaign.temporal_labels.model_copy(
        update={"model_from": ModelFrom(fold="north", split="train")}
    )
    campaign = campaign.model_copy(update={"temporal_labels": rules})
    place = Workplace(tmp_path)
    write_months(place, campaign, "south|test", noise())
    with pytest.raises(
        StorageError, match=r"materialize demo/ndvi_temporal_labels of north\|train first"
    ):
        materialize(campaign, place, ("ndvi_temporal_labels",), keys=["south|test"])


# bad input, through Dagster


def noise(months=12):
    rng = np.random.default_rng(0)
    return rng.integers(0, 9000, (months, *GRID.shape.yx)).astype(np.int16)


def write_months(place, campaign, key, values):
    path = place.layout(campaign).ndvi_cube(*fold_and_split(key), 0)
    write_cube(path, {"ndvi": values}, MONTHS[: len(values)], GRID)


@pytest.mark.parametrize(
    ("asset", "values", "message"),
    [
        (
            "ndvi_spatial_labels",
            np.full((12, *GRID.shape.yx), MISSING, np.int16),
            r"no raster could be made: cluster-0 2021-01-15: no pixel has a value",
        ),
        (
            "ndvi_temporal_labels",
            np.full((12, *GRID.shape.yx), MISSING, np.int16),
            r"cluster-0: no pixel has a value in each of the 12 steps of month",
        ),
        (
            "ndvi_spatial_labels",
            np.full((12, *GRID.shape.yx), 4000, np.int16),
            r"5 clusters asked of 1 distinct values",
        ),
        (
            "ndvi_temporal_labels",
            np.full((12, *GRID.shape.yx), 4000, np.int16),
            r"9 clusters asked of 1 distinct pixels",
        ),
        (
            "ndvi_temporal_labels",
            noise(1),
            r"no pixel has a value in each of the 12 steps .* temporal_labels.max_gap_days \(62\)",
        ),
    ],
    ids=["all cloud", "series all cloud", "one value", "one series", "one date of twelve months"],
)
def test_what_cannot_be_clustered_is_named(tmp_path, asset, values, message):
    campaign = load_campaign("demo")
    place = Workplace(tmp_path)
    write_months(place, campaign, "north|train", values)
    with pytest.raises(ClusteringError, match=message) as caught:
        materialize(campaign, place, (asset,), keys=["north|train"])
    assert str(caught.value).startswith(f"{asset} north|train: ")


def test_one_valid_date_has_its_labels_and_cannot_be_followed(tmp_path):
    campaign = load_campaign("demo")
    place = Workplace(tmp_path)
    write_months(place, campaign, "north|train", noise(1))
    result = materialize(campaign, place, ("ndvi_spatial_labels",), keys=["north|train"])
    (facts,) = metadata_of(result, campaign, "ndvi_spatial_labels").values()
    assert facts["rasters"] == 1
    result = materialize(campaign, place, ("ndvi_label_changes",), keys=["north|train"])
    (facts,) = metadata_of(result, campaign, "ndvi_label_changes").values()
    assert facts["rasters"] == 0
    assert "labels of 1 date; two are needed to follow them" in facts["not_followed"]


def test_unequal_time_axes_are_refused_by_name(tmp_path):
    campaign = load_campaign("demo")
    rules = campaign.temporal_labels.model_copy(
        update={"model_from": ModelFrom(fold="north", split="train"), "n_clusters": 3}
    )
    campaign = campaign.model_copy(update={"temporal_labels": rules})
    place = Workplace(tmp_path)
    write_months(place, campaign, "north|train", noise())
    materialize(campaign, place, ("ndvi_temporal_labels",), keys=["north|train"])
    shorter = campaign.model_copy(update={"end": campaign.end.replace(month=9, day=30)})
    write_months(place, shorter, "south|test", noise(9))
    with pytest.raises(
        ClusteringError, match=r"time_axis differ: the model of north\|train has .*'12'.*south"
    ):
        materialize(shorter, place, ("ndvi_temporal_labels",), keys=["south|test"])
