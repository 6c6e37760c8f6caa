from __future__ import annotations

import numpy as np

from geo_assets.core.band_names import common_name
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


def test_an_index_of_a_red_edge_finds_its_band_by_any_name():
    """The catalogue says rededge071 where campaigns say B05 or rededge1."""
    bands = np.random.default_rng(1).integers(1, 9000, (2, 4, 4)).astype(np.uint16)
    names = tuple(common_name(band) for band in ("B05", "B08"))
    features, usable = land_cover_features(bands, np.ones((4, 4), bool), names, ("NDREI",))
    edge, nir = bands.astype(float)
    np.testing.assert_allclose(features[2], (nir - edge) / (nir + edge), rtol=1e-6)
    assert usable.all()
