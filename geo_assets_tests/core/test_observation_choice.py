from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.compositing import reduce_stack
from geo_assets.core.observation_choice import MaxNdvi
from geo_assets_tests.core.test_compositing import stack


def greenest(pixel, red, nir):
    """The first observation with the greatest NDVI, in exact arithmetic."""
    best, greatest = pixel[0], Fraction(-2)
    for observation in pixel:
        r, n = int(observation[red]), int(observation[nir])
        if n + r > 0 and abs(n - r) <= n + r and Fraction(n - r, n + r) > greatest:
            best, greatest = observation, Fraction(n - r, n + r)
    return best


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@given(seed=st.integers(0, 2**32 - 1), times=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_max_ndvi_takes_all_bands_of_the_greenest_observation(dtype, seed, times):
    data, valid = stack(dtype, times, seed=seed, shape=(3, 5, 4))
    image, seen = reduce_stack(data, valid, MaxNdvi(red=2, nir=0))
    assert image.dtype == dtype
    for row, col in np.argwhere(seen):
        known = data[valid[:, row, col], :, row, col]
        np.testing.assert_array_equal(image[:, row, col], greenest(known, red=2, nir=0))


def test_the_earliest_of_equally_green_observations_is_taken():
    data = np.array([[100, 100], [200, 600], [100, 300]], np.uint16).reshape(3, 2, 1, 1)
    image, _ = reduce_stack(data, np.ones((3, 1, 1), bool), MaxNdvi(red=0, nir=1))
    assert image.ravel().tolist() == [200, 600]


def test_a_dark_observation_is_taken_only_where_there_is_no_other():
    data = np.array([[0, 0], [9, 1]], np.uint16).reshape(2, 2, 1, 1).repeat(2, axis=3)
    valid = np.array([[[True, True]], [[True, False]]])
    image, _ = reduce_stack(data, valid, MaxNdvi(red=0, nir=1))
    assert image[:, 0].T.tolist() == [[9, 1], [0, 0]]


def test_a_medoid_is_one_observation_and_no_mixture():
    data = np.array([[0, 100], [100, 0], [90, 90]], np.uint16).reshape(3, 2, 1, 1)
    image, _ = reduce_stack(data, np.ones((3, 1, 1), bool), "medoid")
    assert image.ravel().tolist() == [90, 90]


def test_the_earliest_of_equally_near_observations_is_the_medoid():
    data = np.array([[5], [7]], np.uint16).reshape(2, 1, 1, 1)
    assert reduce_stack(data, np.ones((2, 1, 1), bool), "medoid")[0].item() == 5


@pytest.mark.parametrize("size", [3e38, 1e200, np.inf])
def test_a_medoid_is_a_valid_observation_however_far_the_others(size):
    data = np.array([np.nan, size, -size]).reshape(3, 1, 1, 1)
    valid = np.array([False, True, True]).reshape(3, 1, 1)
    assert reduce_stack(data, valid, "medoid")[0].item() == size
