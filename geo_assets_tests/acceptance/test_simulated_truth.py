"""Temporal labels of the demo beside the land cover that its archive was drawn from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import rasterio.windows
import xarray as xr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geo_assets.campaign_file import load_campaign
from geo_assets.core.indices import quantise_index
from geo_assets.core.temporal_features import temporal_features
from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets_tests.acceptance.support import ARCHIVE, materialize, say

STARTS = 50


@dataclass(frozen=True)
class Cluster:
    """One cluster of the demo: its features, its true cover and the labels it was given."""

    name: str
    features: np.ndarray
    """(pixel, step), of pixels with a complete series."""
    truth: np.ndarray
    """(pixel,) true cover of the same pixels; 0 beyond the archive's tile."""
    labels: np.ndarray
    """(pixel,) labels of the product, 1 to K."""
    dates: list[tuple[np.ndarray, np.ndarray]]
    """For each date, NDVI (pixel,) and true cover of the pixels that were seen."""


@pytest.fixture(scope="module")
def work(demo, tmp_path_factory):
    return demo.place.copy(tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module")
def clusters(work, full) -> list[Cluster]:
    keys = partition_keys(load_campaign("demo"))
    chosen = [(key, number) for key in keys for number in (0, 1)]
    return [labelled(work, *each) for each in (chosen if full else chosen[:1])]


def labelled(work, key: str, number: int) -> Cluster:
    """Label a cluster with as many classes as truly lie in its box."""
    campaign = load_campaign("demo")
    fold, split = fold_and_split(key)
    layout = work.layout(campaign)
    with xr.open_zarr(layout.ndvi_cube(fold, split, number)) as cube:
        ndvi = cube["ndvi"].load()
    truth = true_cover(work.data / ARCHIVE, ndvi)
    rules = campaign.temporal_labels.model_copy(update={"n_clusters": true_classes(truth)})
    shutil.rmtree(layout.ndvi_temporal_labels_folder(fold, split), ignore_errors=True)
    materialize(
        campaign.model_copy(update={"temporal_labels": rules}),
        work,
        ("ndvi_temporal_labels",),
        keys=[key],
    )
    with rasterio.open(layout.ndvi_temporal_labels(fold, split, number)) as raster:
        labels = raster.read(1)
    series = temporal_features(
        quantise_index(ndvi.values),
        ndvi["time"].values.astype("datetime64[D]"),
        rules.every,
        rules.max_gap_days,
        period=(np.datetime64(campaign.start), np.datetime64(campaign.end)),
    )
    np.testing.assert_array_equal(labels > 0, series.complete)
    assert labels.max() == rules.n_clusters
    return Cluster(
        f"{key} cluster {number}",
        series.values[:, series.complete].T,
        truth[series.complete],
        labels[series.complete],
        [
            (day[seen], truth[seen])
            for day in ndvi.values
            for seen in [np.isfinite(day) & (truth > 0)]
            if seen.any()
        ],
    )


def true_cover(archive, ndvi) -> np.ndarray:
    """The archive's land cover on the grid of a cube, 0 beyond its tile."""
    epsg = rasterio.crs.CRS.from_wkt(ndvi["spatial_ref"].attrs["crs_wkt"]).to_epsg()
    with rasterio.open(archive / f"truth/land_cover-{epsg}.tif") as cover:
        row, col = cover.index(float(ndvi["x"][0]), float(ndvi["y"][0]))
        height, width = ndvi.shape[1:]
        window = rasterio.windows.Window(col, row, width, height)
        truth = cover.read(1, window=window, boundless=True, fill_value=0)
    assert (truth > 0).mean() > 0.5
    return truth


def true_classes(truth) -> int:
    return len(np.unique(truth[truth > 0]))


def nearest_class_mean(features, truth) -> np.ndarray:
    """Label pixels (pixel, feature) by the nearest mean of the true classes."""
    means = [features[truth == value].mean(axis=0) for value in np.unique(truth)]
    distances = [((features - mean) ** 2).sum(axis=1) for mean in means]
    return np.argmin(distances, axis=0)


def test_temporal_labels_agree_with_the_truth_as_well_as_scikit_learns_best(
    clusters, record_property
):
    say("\nadjusted Rand index        ours  scikit-learn  ceiling  best date alone")
    for cluster in clusters:
        known = cluster.truth > 0
        truth = cluster.truth[known]
        k = true_classes(truth)
        ours = adjusted_rand_score(truth, cluster.labels[known])
        peer = KMeans(k, n_init=STARTS, random_state=0).fit(cluster.features)
        theirs = adjusted_rand_score(truth, peer.labels_[known])
        means = nearest_class_mean(cluster.features[known], truth)
        ceiling = adjusted_rand_score(truth, means)
        say(
            f"{cluster.name:24} {ours:6.3f} {theirs:13.3f} {ceiling:8.3f} {best_date(cluster):8.3f}"
            f"   K = {k}, {len(truth)} pixels"
        )
        record_property(cluster.name, f"ours {ours:.4f}, peer {theirs:.4f}, ceiling {ceiling:.4f}")
        assert ours >= theirs - 0.01
        assert ceiling > 0.6


def best_date(cluster: Cluster) -> float:
    return max(
        adjusted_rand_score(truth, nearest_class_mean(ndvi[:, None], truth))
        for ndvi, truth in cluster.dates
    )


def test_no_date_alone_tells_the_classes_apart(clusters):
    for cluster in clusters:
        assert best_date(cluster) < 0.6, cluster.name
