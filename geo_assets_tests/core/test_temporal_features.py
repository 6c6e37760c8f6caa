# ruff: noqa: PD011  (values is a field of TemporalFeatures here, no attribute of a DataFrame)
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core import temporal_features as module
from geo_assets.core.temporal_features import temporal_features, time_axis
from geo_assets.errors import GeoAssetsError


def days(*texts):
    return np.array(texts, "datetime64[D]")


def random_cube(seed, times=14, missing=0.5, shape=(5, 7)):
    rng = np.random.default_rng(seed)
    steps = rng.integers(-10000, 10001, (times, *shape)).astype(np.int16)
    steps[rng.random(steps.shape) < missing] = -32768
    when = np.datetime64("2020-12-19") + np.sort(rng.choice(400, times, replace=False))
    return steps, when


def as_units(steps):
    return np.where(steps == -32768, np.nan, steps / 10_000.0)


def filled_by_numpy(series, at, limit):
    """One pixel's series filled as the rule reads, by np.interp; and how many were held."""
    known = np.flatnonzero(~np.isnan(series))
    result, filled, held = series.copy(), 0, 0
    for step in np.flatnonzero(np.isnan(series)):
        before, after = known[known < step], known[known > step]
        if before.size and after.size:
            near = at[after[0]] - at[before[-1]] <= limit
        elif before.size or after.size:
            nearest = before[-1] if before.size else after[0]
            near = abs(at[step] - at[nearest]) <= limit
            held += near
        else:
            near = False
        if near:
            result[step] = np.interp(at[step], at[known], series[known])
            filled += 1
    return result, filled, held


@pytest.mark.parametrize("every", ["date", "10d", "month"])
@given(
    seed=st.integers(0, 2**32 - 1),
    limit=st.sampled_from([0, 12, 40, 62, 366]),
    missing=st.sampled_from([0.0, 0.4, 0.9]),
)
@settings(max_examples=30, deadline=None)
def test_steps_are_medians_and_gaps_are_filled_linearly_in_days(every, seed, limit, missing):
    cube, when = random_cube(seed, missing=missing, shape=(3, 4))
    features = temporal_features(cube, when, every, limit)
    axis = time_axis(when, every)
    values = as_units(cube)
    filled = held = 0
    for row, col in np.ndindex(3, 4):
        # pandas skips what is missing and gives NaN to a step without a value.
        medians = pd.Series(values[:, row, col]).groupby(axis.step_of).median()
        series = medians.reindex(range(len(axis.steps))).to_numpy()
        expected, pixel_filled, pixel_held = filled_by_numpy(series, axis.centers, limit)
        np.testing.assert_allclose(features.values[:, row, col], expected, rtol=1e-6, atol=1e-7)
        filled += pixel_filled
        held += pixel_held
    assert features.values.dtype == np.float32
    known = ~np.isnan(features.values)
    np.testing.assert_array_equal(features.complete, known.all(axis=0))
    assert features.filled_share == filled / max(known.sum(), 1)
    assert features.held_share == held / max(known.sum(), 1)


def filled_by_whole_arrays(series, at, limit):
    """The same rule in whole-array steps of float64: neighbours by running maxima and minima."""
    steps = len(series)
    known = ~np.isnan(series)
    index = np.arange(steps)[:, np.newaxis]
    before = np.maximum.accumulate(np.where(known, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, index, steps)[::-1], axis=0)[::-1]
    step, pixel = np.nonzero(~known & ((before >= 0) | (after < steps)))
    left, right = before[step, pixel], after[step, pixel]
    edge = (left < 0) | (right == steps)
    left, right = np.where(left < 0, right, left), np.where(right == steps, left, right)
    span = at[right] - at[left]
    near = np.where(edge, np.abs(at[step] - at[left]), span) <= limit
    step, pixel, left, right, edge = (part[near] for part in (step, pixel, left, right, edge))
    weight = (at[step] - at[left]) / np.where(edge, 1.0, span[near])
    low, high = series[left, pixel], series[right, pixel]
    result = series.copy()
    result[step, pixel] = low + (high - low) * weight
    return result.astype(np.float32), step.size, int(edge.sum())


@given(
    seed=st.integers(0, 2**32 - 1),
    limit=st.sampled_from([0, 12, 40, 366]),
    missing=st.sampled_from([0.1, 0.5, 0.95]),
)
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_whole_array_arithmetic_to_the_last_bit(seed, limit, missing):
    cube, when = random_cube(seed, missing=missing, shape=(11, 31))
    features = temporal_features(cube, when, "date", limit)
    series = np.where(cube == -32768, np.nan, cube * 1e-4).reshape(len(cube), -1)
    expected, filled, held = filled_by_whole_arrays(series, when.astype(float), limit)
    assert features.values.tobytes() == expected.tobytes()
    known = max(int(np.isfinite(expected).sum()), 1)
    assert (features.filled_share, features.held_share) == (filled / known, held / known)


def test_gaps_are_filled_as_pandas_interpolates_by_time():
    cube, when = random_cube(8, times=30, missing=0.6, shape=(6, 6))
    features = temporal_features(cube, when, "date", 10_000)
    frame = pd.DataFrame(as_units(cube).reshape(30, -1), index=pd.DatetimeIndex(when))
    expected = frame.interpolate("time").bfill().to_numpy()
    np.testing.assert_allclose(features.values.reshape(30, -1), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("every", ["date", "10d", "month"])
def test_gaps_stay_if_nothing_is_to_be_filled(every):
    cube, when = random_cube(8)
    gaps = temporal_features(cube, when, every, 366, fill=False)
    np.testing.assert_array_equal(gaps.values, temporal_features(cube, when, every, 0).values)
    assert (gaps.filled_share, gaps.held_share) == (0, 0)
    assert np.isnan(gaps.values).any()


def test_months_are_those_of_pandas():
    _, when = random_cube(5, times=60)
    axis = time_axis(when, "month")
    periods = pd.period_range(when[0], when[-1], freq="M")
    assert [str(step) for step in axis.steps] == [str(p.start_time.date()) for p in periods]
    assert [str(periods[i]) for i in axis.step_of] == [str(day)[:7] for day in when]
    lengths = np.diff(np.r_[axis.steps, np.datetime64(periods[-1].end_time, "D") + 1])
    middles = axis.steps.astype(int) + (lengths.astype(int) - 1) / 2
    np.testing.assert_array_equal(axis.centers, middles)


def test_dekads_begin_on_the_1st_11th_and_21st_of_every_month():
    when = np.arange("2019-12-28", "2021-03-04", dtype="datetime64[D]")
    axis = time_axis(when, "10d")
    assert set(pd.DatetimeIndex(axis.steps).day) == {1, 11, 21}
    for day, step in zip(pd.DatetimeIndex(when), axis.step_of, strict=True):
        first = pd.Timestamp(axis.steps[step])
        assert (first.year, first.month) == (day.year, day.month)
        assert first.day == (1 if day.day <= 10 else 11 if day.day <= 20 else 21)
    assert axis.centers[0] == days("2019-12-21").astype(int)[0] + 5  # the 26th of 21 to 31


def test_the_axis_of_date_is_that_of_the_acquisitions():
    cube, when = random_cube(2)
    features = temporal_features(cube, when.astype("datetime64[ns]"), "date", 0)
    np.testing.assert_array_equal(features.steps, when)
    np.testing.assert_array_equal(features.values, as_units(cube).astype(np.float32))
    assert features.filled_share == 0


def test_a_period_gives_two_areas_the_same_axis():
    period = tuple(days("2021-01-01", "2021-12-31"))
    one = time_axis(days("2021-03-04", "2021-09-09"), "10d", period)
    other = time_axis(days("2021-01-30", "2021-02-01", "2021-11-09"), "10d", period)
    assert len(one.steps) == 36
    np.testing.assert_array_equal(one.steps, other.steps)
    np.testing.assert_array_equal(one.centers, other.centers)
    assert one.steps[one.step_of].tolist() == days("2021-03-01", "2021-09-01").tolist()


def test_nothing_is_held_or_filled_further_than_the_limit():
    when = days("2021-01-10", "2021-01-20", "2021-03-20", "2021-03-25", "2021-06-01")
    series = np.array([np.nan, 0.2, np.nan, 0.8, np.nan]).reshape(5, 1, 1)
    assert np.isnan(temporal_features(series, when, "date", 9).values[[0, 2, 4]]).all()
    # 64 days lie between the known ones, 10 before the first, 68 after the last.
    ten = temporal_features(series, when, "date", 10)
    assert np.isnan(ten.values.ravel()).tolist() == [False, False, True, False, True]
    assert (ten.filled_share, ten.held_share) == (1 / 3, 1 / 3)
    most = temporal_features(series, when, "date", 64)
    assert most.values[2, 0, 0] == np.float32(0.2 + 0.6 * 59 / 64)
    assert np.isnan(most.values[4, 0, 0])
    assert not most.complete.any()
    assert temporal_features(series, when, "date", 68).complete.all()


def test_one_missing_month_is_filled_by_the_default_limit():
    when = np.arange("2021-01", "2022-01", dtype="datetime64[M]").astype("datetime64[D]")
    for gone in range(12):
        cube = np.arange(12, dtype=np.float32).reshape(12, 1, 1)
        cube[gone] = np.nan
        assert temporal_features(cube, when).complete.all()


def test_a_pixel_without_values_stays_missing():
    cube, when = random_cube(3)
    cube[:, 2, 3] = -32768
    features = temporal_features(cube, when, "month", 366)
    assert np.isnan(features.values[:, 2, 3]).all()
    assert not features.complete[2, 3]


def test_one_acquisition_makes_one_step():
    features = temporal_features(np.full((1, 2, 2), 0.5, np.float32), days("2021-05-05"))
    assert features.values.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
    assert features.steps.tolist() == days("2021-05-01").tolist()


def test_blocks_do_not_show(monkeypatch):
    cube, when = random_cube(9, shape=(23, 6))
    whole = temporal_features(cube, when)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    parts = temporal_features(cube, when)
    np.testing.assert_array_equal(parts.values, whole.values)
    assert parts.filled_share == whole.filled_share
    assert parts.held_share == whole.held_share


def test_the_cube_is_not_changed():
    cube, when = random_cube(1)
    floats = as_units(cube)
    before = cube.copy(), floats.copy()
    temporal_features(cube, when, "date", 366)
    temporal_features(floats, when, "date", 366)
    np.testing.assert_array_equal(cube, before[0])
    np.testing.assert_array_equal(floats, before[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": "week"}, "every: 'week' is unknown; allowed: date, 10d, month"),
        ({"max_gap_days": -1}, "max_gap_days: -1 days; allowed: 0 or more"),
        ({"values": np.zeros((3, 2, 2), np.uint8)}, "values: dtype uint8; allowed: int16, float"),
        ({"values": np.zeros((2, 2, 2))}, r"values \(2, 2, 2\), times \(3,\)"),
        (
            {"times": days("2021-05-01", "2021-05-09", "2021-05-09")},
            "2021-05-09 follows 2021-05-09; they must rise",
        ),
        ({"values": np.zeros((0, 2, 2)), "times": days()}, "times: no acquisition"),
        (
            {"period": tuple(days("2021-05-01", "2021-05-31"))},
            "2021-06-01 lies outside the period 2021-05-01 to 2021-05-31",
        ),
    ],
)
def test_what_has_no_axis_is_refused_by_name(arguments, message):
    good = {"values": np.zeros((3, 2, 2)), "times": days("2021-05-01", "2021-05-09", "2021-06-01")}
    with pytest.raises(GeoAssetsError, match=message):
        temporal_features(**(good | arguments))
