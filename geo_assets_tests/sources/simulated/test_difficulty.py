"""Whether the landscape is worth learning: not too easy, not hopeless (adjusted Rand index)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geo_assets_tests.sources.simulated import reading

CLOUDY = (0, 1, 3, 8, 9, 10)
TILES = [("32UQV", 32632), ("33UTQ", 32633)]


@dataclass
class Series:
    ndvi: np.ndarray  # (date, pixel), gaps filled linearly in time
    truth: np.ndarray


@pytest.fixture(scope="module", params=TILES, ids=lambda tile: tile[0])
def series(request, archive):
    tile, epsg = request.param
    chosen = np.random.default_rng(0).choice(768 * 768, 20_000, replace=False)
    values, days = [], []
    for item in reading.items(archive, tile):
        whole = item["properties"]["s2:nodata_pixel_percentage"] == 0
        usable = item["properties"]["eo:cloud_cover"] <= 60 and "B11" in item["assets"]
        # The damaged file is for other tests.
        if not (whole and usable) or item["id"] == "S2A_33UTQ_20210718_0_L2A":
            continue
        ndvi = reading.ndvi(archive, item)
        ndvi[np.isin(reading.classification(archive, item), CLOUDY)] = np.nan
        values.append(ndvi.ravel()[chosen])
        days.append(dt.date.fromisoformat(item["properties"]["datetime"][:10]).toordinal())
    ndvi = np.array(values)
    for pixel in ndvi.T:
        known = ~np.isnan(pixel)
        pixel[~known] = np.interp(np.array(days)[~known], np.array(days)[known], pixel[known])
    return Series(ndvi, reading.land_cover(archive, epsg).ravel()[chosen])


def nearest_class_mean(ndvi, truth):
    means = np.stack([ndvi[:, truth == value].mean(1) for value in np.unique(truth)])
    return ((ndvi.T[:, None, :] - means) ** 2).sum(-1).argmin(1)


def test_usable_dates_are_24_at_any_usual_cloud_limit(archive):
    for tile, _ in TILES:
        cover = {}
        for item in reading.items(archive, tile):
            if item["properties"]["sat:relative_orbit"] == 22 and "B11" in item["assets"]:
                cover[item["properties"]["datetime"][:10]] = item["properties"]["eo:cloud_cover"]
        assert len(cover) == 29
        assert sum(share <= 55 for share in cover.values()) == 24
        assert sum(share <= 75 for share in cover.values()) == 24


def test_true_class_means_label_most_pixels_rightly(series):
    ceiling = adjusted_rand_score(series.truth, nearest_class_mean(series.ndvi, series.truth))
    assert 0.80 <= ceiling <= 0.95


def test_kmeans_comes_near_the_ceiling(series):
    ceiling = adjusted_rand_score(series.truth, nearest_class_mean(series.ndvi, series.truth))
    found = KMeans(9, n_init=10, random_state=0).fit_predict(series.ndvi.T)
    assert ceiling - 0.15 < adjusted_rand_score(series.truth, found) <= ceiling + 0.02


def test_no_single_date_tells_the_classes_apart(series):
    for date in series.ndvi:
        own = nearest_class_mean(date[None], series.truth)
        assert adjusted_rand_score(series.truth, own) < 0.6
