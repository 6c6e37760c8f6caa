import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.kernels.median import median_network, median_of_pixels


def applied(network, values):
    """Merge sorted fours of values (value, case) as the network says."""
    fours = np.sort(values.reshape(-1, 4, values.shape[1]), axis=1)
    for low, high, needed in network:
        both = np.sort(np.concatenate([fours[low], fours[high]]), axis=0)
        if needed != 2:
            fours[low] = both[:4]
        if needed != 1:
            fours[high] = both[4:]
    return fours.reshape(values.shape)


@pytest.mark.parametrize("fours", [1, 2, 3, 4])
def test_a_network_sorts_the_middle_of_all_zeros_and_ones(fours):
    # What sorts every sequence of zeros and ones sorts every sequence (Knuth 5.3.4, theorem Z).
    every = np.array(list(itertools.product([0, 1], repeat=4 * fours)), np.int8).T
    found, wanted = applied(median_network(fours), every), np.sort(every, axis=0)
    for place in (2 * fours - 1, 2 * fours):
        np.testing.assert_array_equal(found[place], wanted[place])


@pytest.mark.parametrize("fours", [5, 6, 7, 9, 12, 13, 16, 17, 25, 32, 50])
def test_a_longer_network_finds_the_middle_of_random_numbers(fours):
    values = np.random.default_rng(fours).integers(0, 50, (4 * fours, 2000))
    found, wanted = applied(median_network(fours), values), np.sort(values, axis=0)
    for place in (2 * fours - 1, 2 * fours):
        np.testing.assert_array_equal(found[place], wanted[place])


def test_a_network_leaves_out_what_the_middle_does_not_need():
    assert len(median_network(12)) < 41  # Knuth 5.2.2: comparators of Batcher's sort of 12


@given(seed=st.integers(0, 2**32 - 1), times=st.integers(1, 40), pixels=st.integers(1, 5000))
@settings(max_examples=20, deadline=None)
def test_only_the_pixels_asked_for_are_written(seed, times, pixels):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 65536, (times, 1, pixels), dtype=np.uint16)
    valid = rng.random((times, pixels)) < 0.5
    start, stop = sorted(rng.integers(0, pixels + 1, 2).tolist())
    out, seen = np.full((1, pixels), 7, np.uint16), rng.random(pixels) < 0.5
    before = seen.copy()
    median_of_pixels(data, valid, (start, stop), fill=3, out=out, seen=seen)
    outside = np.r_[0:start, stop:pixels]
    assert (out[:, outside] == 7).all()
    np.testing.assert_array_equal(seen[outside], before[outside])
    np.testing.assert_array_equal(seen[start:stop], valid[:, start:stop].any(axis=0))
    for pixel in range(start, min(stop, start + 50)):
        known = data[valid[:, pixel], 0, pixel].astype(float)
        assert out[0, pixel] == (np.rint(np.median(known)) if len(known) else 3)


def test_twice_the_median_is_exact():
    data = np.array([[[65535, 65534, 5]], [[65535, 65533, 9]]], np.uint16)
    valid = np.array([[True, True, False], [True, True, False]])
    out = np.empty((1, 3), np.int32)
    median_of_pixels(data, valid, (0, 3), fill=-1, out=out, seen=np.empty(3, bool))
    assert out.tolist() == [[131070, 131067, -1]]
