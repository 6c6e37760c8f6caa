"""Gap filling and smoothing of series, compared with pandas, scipy and the papers' matrices."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.signal import savgol_filter

from geo_assets.core.smoothing import SmoothingRules, smooth_series
from geo_assets.errors import GeoAssetsError

REGULAR = np.arange("2021-01-01", "2021-05-01", 5, dtype="datetime64[D]")
RNG = np.random.default_rng(8)
IRREGULAR = np.sort(
    np.datetime64("2021-01-01") + RNG.choice(200, 24, replace=False).astype("timedelta64[D]")
)


def series(days, share=0.3, pixels=40):
    values = np.random.default_rng(1).normal(0.4, 0.1, (len(days), pixels))
    values[np.random.default_rng(2).random(values.shape) < share] = np.nan
    return values


@pytest.mark.parametrize("days", [REGULAR, IRREGULAR])
def test_linear_filling_is_that_of_pandas(days):
    values = series(days)
    filled = smooth_series(values, days, SmoothingRules(max_gap_days=400))
    frame = pd.DataFrame(values, index=pd.DatetimeIndex(days))
    expected = frame.interpolate(method="time", limit_area="inside")
    np.testing.assert_allclose(filled, expected.to_numpy(), rtol=0, atol=1e-12)


def test_gaps_longer_than_asked_and_ends_stay_missing():
    days = np.array([0, 10, 20, 30, 60, 70], "datetime64[D]")
    values = np.array([np.nan, 1.0, np.nan, 3.0, np.nan, 7.0])[:, np.newaxis]
    filled = smooth_series(values, days, SmoothingRules(max_gap_days=20))[:, 0]
    np.testing.assert_array_equal(filled, [np.nan, 1, 2, 3, np.nan, 7])
    filled = smooth_series(values, days, SmoothingRules(max_gap_days=40))[:, 0]
    np.testing.assert_array_equal(filled, [np.nan, 1, 2, 3, 6, 7])


def test_savitzky_golay_on_regular_dates_is_that_of_scipy():
    values = series(REGULAR, share=0)
    rules = SmoothingRules("savitzky-golay", window=7, order=2)
    np.testing.assert_allclose(
        smooth_series(values, REGULAR, rules), savgol_filter(values, 7, 2, axis=0), atol=1e-12
    )


@pytest.mark.parametrize("method", ["savitzky-golay", "whittaker"])
def test_a_straight_line_stays_one_on_irregular_dates_with_gaps(method):
    line = 0.2 + 0.002 * (IRREGULAR - IRREGULAR[0]).astype(float)
    values = np.repeat(line[:, np.newaxis], 30, axis=1)
    values[1:-1][np.random.default_rng(3).random((len(line) - 2, 30)) < 0.3] = np.nan
    smooth = smooth_series(values, IRREGULAR, SmoothingRules(method, max_gap_days=400))
    np.testing.assert_allclose(smooth, np.repeat(line[:, None], 30, axis=1), atol=1e-9)


def test_whittaker_on_regular_dates_solves_the_equations_of_the_paper():
    values = series(REGULAR)
    smooth = smooth_series(values, REGULAR, SmoothingRules("whittaker", 400, strength=25.0))
    differences = np.diff(np.eye(len(REGULAR)), 2, axis=0)
    for pixel in range(values.shape[1]):
        weights = ~np.isnan(values[:, pixel])
        left = np.diag(weights.astype(float)) + 25.0 * differences.T @ differences
        expected = np.linalg.solve(left, np.where(weights, values[:, pixel], 0.0))
        inside = ~np.isnan(smooth[:, pixel])
        assert inside.sum() > 10
        np.testing.assert_allclose(smooth[inside, pixel], expected[inside], atol=1e-9)


@pytest.mark.parametrize("method", ["linear", "savitzky-golay", "whittaker"])
@pytest.mark.parametrize("dates", [0, 1, 2, 3, 24])
def test_few_dates_and_pixels_without_any_value_are_answered(method, dates):
    values = np.full((dates, 3, 2), np.nan)
    if dates:
        values[0, 0, 0] = 0.5
        values[-1, 1, 1] = 0.25
    smooth = smooth_series(values, IRREGULAR[:dates], SmoothingRules(method, max_gap_days=400))
    assert smooth.shape == values.shape
    np.testing.assert_allclose(smooth, values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["linear", "savitzky-golay", "whittaker"])
def test_a_pixel_is_smoothed_alike_whatever_its_neighbours(method):
    values, rules = series(IRREGULAR), SmoothingRules(method, max_gap_days=60)
    whole = smooth_series(values, IRREGULAR, rules)
    parts = [smooth_series(values[:, [n]], IRREGULAR, rules) for n in range(values.shape[1])]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))


def test_years_without_a_date_cost_no_memory():
    # Steps of a day over 55 years, for ten dates.
    days = np.array([*range(9), 20_000], "datetime64[D]")
    values = np.random.default_rng(4).random((len(days), 1000))
    rules = SmoothingRules("savitzky-golay")
    tracemalloc.start()
    smooth = smooth_series(values, days, rules)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6  # at once it would be 160 MB for each of several arrays
    np.testing.assert_array_equal(smooth[:, 990:], smooth_series(values[:, 990:], days, rules))


def test_dates_that_do_not_fit_are_refused():
    with pytest.raises(GeoAssetsError, match="3 dates for 2 layers"):
        smooth_series(np.zeros((2, 1)), REGULAR[:3], SmoothingRules())
    with pytest.raises(GeoAssetsError, match="must rise"):
        smooth_series(np.zeros((2, 1)), REGULAR[[1, 0]], SmoothingRules())
