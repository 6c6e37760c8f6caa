import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core import compositing
from geo_assets.core.compositing import REDUCERS, fill_value, reduce_stack
from geo_assets.errors import GeoAssetsError


def nearest_to_all(wide, axis):
    """The observation with the least sum of distances to the others, pixel by pixel."""
    assert axis == 0
    nearest = np.full(wide.shape[1:], np.nan)
    for row, col in np.ndindex(*wide.shape[2:]):
        pixel = wide[:, :, row, col]
        known = pixel[~np.isnan(pixel).any(axis=1)]
        if len(known):
            sums = [
                sum(
                    math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
                    for other in known.tolist()
                )
                for one in known.tolist()
            ]
            nearest[:, row, col] = known[int(np.argmin(sums))]
    return nearest


ORACLES = {
    "median": np.nanmedian,
    "mean": np.nanmean,
    "min": np.nanmin,
    "max": np.nanmax,
    "medoid": nearest_to_all,
}


def sorted_median(data, valid, dtype):
    """The median by sorting every pixel's observations, as it was before it had a kernel."""
    stack = np.ascontiguousarray(np.moveaxis(data, 0, -1))
    known = np.moveaxis(valid, 0, -1)
    count = known.sum(axis=-1)
    np.copyto(stack, np.iinfo(data.dtype).max, where=~known)
    stack.sort(axis=-1)
    low, high = (
        np.take_along_axis(stack, np.maximum(at, 0)[np.newaxis, ..., np.newaxis], axis=-1)[..., 0]
        for at in ((count - 1) // 2, count // 2)
    )
    if dtype.kind == "f":
        return ((low.astype(np.float64) + high) / 2).astype(dtype)
    total = low.astype(np.int64) + high
    middle = total >> 1
    return (middle + (total & middle & 1)).astype(dtype)


def oracle(name, data, valid):
    """The reduction in float64 by numpy's own functions, NaN where nothing is valid."""
    wide = np.where(valid[:, np.newaxis], data.astype(np.float64), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return ORACLES[name](wide, axis=0)


def stack(dtype, times=7, share=0.6, seed=1, shape=(2, 9, 5)):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        data = rng.normal(0, 1e3, (times, *shape)).astype(dtype)
    else:
        info = np.iinfo(dtype)
        # Both ends of the range are data too, and small values make ties and halves.
        pool = np.r_[info.min, info.max, info.max - 1, np.arange(6)]
        data = rng.choice(pool, (times, *shape)).astype(dtype)
    return data, rng.random((times, *shape[1:])) < share


@pytest.mark.parametrize("name", REDUCERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int16, np.int32, np.float32])
@given(
    seed=st.integers(0, 2**32 - 1),
    times=st.integers(1, 13),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_a_reducer_equals_numpy_in_float64_rounded_half_to_even(name, dtype, seed, times, share):
    data, valid = stack(dtype, times, share, seed)
    image, seen = reduce_stack(data, valid, name)
    expected = oracle(name, data, valid)
    assert image.dtype == dtype
    np.testing.assert_array_equal(seen, valid.any(axis=0))
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(image[:, seen], expected[:, seen], rtol=1e-6, atol=1e-3)
        assert np.isnan(image[:, ~seen]).all()
    else:
        np.testing.assert_array_equal(image[:, seen], np.rint(expected[:, seen]).astype(dtype))
        assert (
            image[:, ~seen] == (0 if np.dtype(dtype).kind == "u" else np.iinfo(dtype).min)
        ).all()


@pytest.mark.parametrize("out", ["same", "float32", "float64"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int8, np.int16])
@given(
    seed=st.integers(0, 2**32 - 1),
    times=st.integers(1, 70),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    layout=st.sampled_from(["C", "F"]),
)
@settings(max_examples=12, deadline=None)
def test_the_median_of_small_integers_is_that_of_sorting(*, dtype, out, seed, times, share, layout):
    data, valid = stack(dtype, times, share, seed)
    wanted = np.dtype(dtype if out == "same" else out)
    image, seen = reduce_stack(np.asarray(data, order=layout), valid, dtype=wanted)
    assert image.dtype == wanted
    np.testing.assert_array_equal(seen, valid.any(axis=0))
    expected = np.where(seen, sorted_median(data, valid, wanted), fill_value(wanted))
    np.testing.assert_array_equal(image, expected.astype(wanted))


@pytest.mark.parametrize("times", [600, 1023])
def test_a_long_stack_of_small_integers_is_sorted(times):
    data, valid = stack(np.uint16, times)
    image, seen = reduce_stack(data, valid)
    np.testing.assert_array_equal(image[:, seen], sorted_median(data, valid, data.dtype)[:, seen])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_pixel(threads):
    data, valid = stack(np.uint16, times=3, shape=(2, 700, 301))
    for name in REDUCERS:
        expected = reduce_stack(data, valid, name, threads=1)
        for got, wanted in zip(
            reduce_stack(data, valid, name, threads=threads), expected, strict=True
        ):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", REDUCERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_become_float_on_request(name, dtype):
    data, valid = stack(np.uint16, times=6)
    image, seen = reduce_stack(data, valid, name, dtype)
    assert image.dtype == dtype
    expected = oracle(name, data, valid).astype(dtype)
    np.testing.assert_array_equal(image, expected)
    assert np.isnan(image[:, ~seen]).all()


@pytest.mark.parametrize(("values", "expected"), [((1, 4), 2), ((3, 4), 4), ((0, 1), 0)])
def test_a_half_goes_to_the_even_number(values, expected):
    data = np.array(values, np.uint16).reshape(-1, 1, 1, 1)
    image, _ = reduce_stack(data, np.ones((2, 1, 1), bool))
    assert image.item() == expected


def test_a_half_of_negative_numbers_goes_to_the_even_number():
    data = np.array([[-1, -5, -3], [-2, -4, -2]], np.int16).reshape(2, 1, 1, 3)
    image, _ = reduce_stack(data, np.ones((2, 1, 3), bool))
    assert image.ravel().tolist() == [-2, -4, -2]


@pytest.mark.parametrize("name", REDUCERS)
def test_blocks_do_not_show(name, monkeypatch):
    data, valid = stack(np.uint16, shape=(2, 37, 11))
    whole, _ = reduce_stack(data, valid, name)
    monkeypatch.setattr(compositing, "_BLOCK_BYTES", 1)
    np.testing.assert_array_equal(reduce_stack(data, valid, name)[0], whole)


def test_what_invalid_pixels_hold_does_not_matter():
    data, valid = stack(np.float32)
    noise = np.where(valid[:, np.newaxis], data, np.nan).astype(np.float32)
    for name in REDUCERS:
        expected, _ = reduce_stack(data, valid, name)
        np.testing.assert_array_equal(reduce_stack(noise, valid, name)[0], expected)


def test_no_time_gives_an_image_without_datum():
    image, seen = reduce_stack(np.zeros((0, 2, 3, 4), np.uint16), np.zeros((0, 3, 4), bool))
    assert image.shape == (2, 3, 4)
    assert not image.any()
    assert not seen.any()


def test_inputs_are_not_changed():
    data, valid = stack(np.uint16)
    before = data.copy(), valid.copy()
    for name in REDUCERS:
        reduce_stack(data, valid, name)
    np.testing.assert_array_equal(data, before[0])
    np.testing.assert_array_equal(valid, before[1])


def test_a_reducer_of_ones_own_is_used_as_it_is():
    def last(data, valid, dtype):
        index = len(valid) - 1 - np.argmax(valid[::-1], axis=0)
        return np.take_along_axis(data, index[np.newaxis, np.newaxis], axis=0)[0].astype(dtype)

    data, valid = stack(np.uint16)
    image, seen = reduce_stack(data, valid, last)
    for row, col in np.argwhere(seen):
        time = np.flatnonzero(valid[:, row, col])[-1]
        np.testing.assert_array_equal(image[:, row, col], data[time, :, row, col])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"reducer": "mode"},
            r"reducer: 'mode' is unknown; allowed: median, mean, min, max, medoid",
        ),
        ({"dtype": "uint8"}, r"dtype: uint8 from uint16; allowed: uint16, float32, float64"),
        ({"data": np.zeros((7, 2, 9, 5), np.int64)}, r"data: dtype int64"),
        ({"data": np.zeros((6, 2, 9, 5), np.uint16)}, r"shapes: data \(6, 2, 9, 5\)"),
        ({"data": np.full((7, 2, 9, 5), np.nan)}, r"NaN in rows 0 to 8 where valid is True"),
    ],
)
def test_what_cannot_be_reduced_is_refused_by_name(arguments, message):
    data, valid = stack(np.uint16)
    with pytest.raises(GeoAssetsError, match=message):
        reduce_stack(**({"data": data, "valid": valid} | arguments))
