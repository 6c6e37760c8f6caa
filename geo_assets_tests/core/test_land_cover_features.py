from __future__ import annotations

import numpy as np
import pytest

from geo_assets.core.land_cover_features import check_indices, land_cover_features
from geo_assets.errors import ClusteringError, GeoAssetsError

NAMES = ("red", "nir", "green")


def test_bands_come_first_then_indices_in_float64s_own_numbers():
    rng = np.random.default_rng(0)
    bands = rng.integers(1, 9000, (3, 5, 6)).astype(np.uint16)
    valid = rng.random((5, 6)) < 0.8

    features, usable = land_cover_features(bands, valid, NAMES, ("NDVI", "NDWI"))

    red, nir, green = bands.astype(float)
    np.testing.assert_array_equal(features[:3], bands)
    expected = [(nir - red) / (nir + red), (green - nir) / (green + nir)]
    for feature, peer in zip(features[3:], expected, strict=True):
        np.testing.assert_allclose(feature[valid], peer[valid], rtol=1e-6)
    np.testing.assert_array_equal(usable, valid)


def test_a_pixel_without_a_meaning_is_not_usable():
    bands = np.full((3, 2, 2), 100, np.float32)
    bands[:2, 0, 0] = 0  # 0 / 0
    bands[2, 1, 1] = np.nan
    _, usable = land_cover_features(bands, np.ones((2, 2), bool), NAMES, ("NDVI",))
    assert usable.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("NDMI", r"'NDMI' needs swir16, which is not among composite\.bands \(red, nir, green\)"),
        ("SAVI", "'SAVI' is .* allowed are indices that are the same in any unit"),
        ("NDVIX", "NDVIX.* near are"),
    ],
)
def test_an_index_that_cannot_be_had_is_named(index, message):
    with pytest.raises(GeoAssetsError, match=message):
        check_indices(("NDVI", index), NAMES)


def test_a_missing_band_is_an_error_of_clustering():
    with pytest.raises(ClusteringError):
        check_indices(("NDBI",), NAMES)


def test_an_index_that_would_count_twice_is_refused():
    with pytest.raises(ClusteringError, match=r"land_cover\.indices: NDVI is named more than once"):
        check_indices(["NDVI", "NDWI", "ndvi"], ["red", "nir", "green"])
