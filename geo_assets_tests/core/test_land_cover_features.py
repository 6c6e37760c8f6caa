from __future__ import annotations

import numpy as np

from geo_assets.core.land_cover_features import land_cover_features

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
