import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.indices import normalized_difference, quantise_index
from geo_assets.core.ndvi import has_quantised_ndvi, quantised_ndvi
from geo_assets.errors import GeoAssetsError


def in_floats(nir, red, valid):
    return quantise_index(normalized_difference(nir, red, valid))


def test_every_pair_of_small_numbers_is_rounded_as_in_float64():
    """All sums to 1400 hold every kind of half step there is: (nir - red) / sum = n / 20000."""
    nir, red = np.meshgrid(np.arange(1400, dtype=np.uint16), np.arange(1400, dtype=np.uint16))
    valid = np.ones(nir.shape, bool)
    np.testing.assert_array_equal(quantised_ndvi(nir, red, valid), in_floats(nir, red, valid))


def test_indices_half_way_between_two_steps_are_rounded_as_in_float64():
    """(nir - red) / 20000 = odd / 20000, times 10000: odd / 2, as near as float64 comes to it."""
    odd = np.arange(-19_999, 20_000, 2)
    nir, red = ((20_000 + sign * odd).astype(np.uint16) for sign in (1, -1))
    valid = np.ones(nir.shape, bool)
    assert (nir.astype(int) + red == 40_000).all()
    np.testing.assert_array_equal(quantised_ndvi(nir, red, valid), in_floats(nir, red, valid))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=30, deadline=None)
def test_any_bands_are_quantised_as_in_float64(dtype, seed, share):
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    ends = np.array([info.min, info.max, 0, 1], dtype)
    nir, red = (
        np.where(rng.random((7, 331)) < 0.1, rng.choice(ends, (7, 331)), band)
        for band in rng.integers(info.min, info.max, (2, 7, 331), dtype, endpoint=True)
    )
    valid = rng.random((7, 331)) < share
    np.testing.assert_array_equal(quantised_ndvi(nir, red, valid), in_floats(nir, red, valid))


def test_threads_and_memory_layout_change_nothing():
    rng = np.random.default_rng(1)
    nir, red = rng.integers(0, 9000, (2, 600, 500), np.uint16)
    valid = rng.random((600, 500)) < 0.9
    one = quantised_ndvi(nir, red, valid)
    np.testing.assert_array_equal(quantised_ndvi(nir, red, valid, threads=3), one)
    np.testing.assert_array_equal(quantised_ndvi(nir.T, red.T, valid.T), one.T)


def test_other_bands_are_refused_by_name():
    floats, small = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint16)
    assert not has_quantised_ndvi(floats, floats)
    assert not has_quantised_ndvi(small, small.astype(np.int16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(GeoAssetsError, match="dtypes: float32, float32; allowed"):
            quantised_ndvi(floats, floats, floats > 0)
        with pytest.raises(GeoAssetsError, match=r"shapes: \(2, 2\), \(2, 2\), valid \(2,\)"):
            quantised_ndvi(small, small, np.ones(2, bool))
