import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

from geo_assets.core.outliers import NORMAL_SIGMA_PER_MAD, spread_of, treat_outliers
from geo_assets.errors import GeoAssetsError


def treated_date(values, rule, n_sigma=10.0):
    return treat_outliers(values, spread_of(lambda: np.array_split(values, 3)), rule, n_sigma)


def one_date(dtype=np.float64):
    rng = np.random.default_rng(4)
    values = rng.normal(0.8, 0.02, (40, 50))
    values[0, :7] = -0.4  # water on a mangrove coast
    values[1, :9] = np.nan
    return values.astype(dtype)


def far_ones(values, n_sigma):
    """The rule by scipy; its own 'normal' scale has more digits than 1.4826."""
    wide = values.astype(np.float64)
    deviation = median_abs_deviation(wide, axis=None, nan_policy="omit")
    return np.abs(wide - np.nanmedian(wide)) > n_sigma * 1.4826 * deviation


def test_none_touches_nothing():
    values = one_date()
    treated, count = treated_date(values, "none")
    np.testing.assert_array_equal(treated, values)
    assert count == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_sigma", [1.0, 3.0, 10.0])
def test_mask_makes_outliers_missing(dtype, n_sigma):
    values = one_date(dtype)
    treated, count = treated_date(values, "mask", n_sigma)
    far = far_ones(values, n_sigma)
    assert treated.dtype == dtype
    assert count == far.sum() >= 7
    np.testing.assert_array_equal(np.isnan(treated), far | np.isnan(values))
    np.testing.assert_array_equal(treated[~far], values[~far])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_median_replaces_outliers_by_the_median(dtype):
    values = one_date(dtype)
    treated, count = treated_date(values, "median", 10.0)
    far = far_ones(values, 10.0)
    assert count == far.sum() == 7
    assert (treated[far] == np.nanmedian(values.astype(np.float64)).astype(dtype)).all()
    np.testing.assert_array_equal(treated[~far], values[~far])


def test_the_input_is_not_changed():
    values = one_date()
    before = values.copy()
    treated_date(values, "median")
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("rule", ["mask", "median"])
def test_a_deviation_of_zero_changes_nothing(rule):
    values = np.array([0.5, 0.5, 0.5, 0.9, np.nan])
    treated, count = treated_date(values, rule, 0.1)
    np.testing.assert_array_equal(treated, values)
    assert count == 0


@pytest.mark.parametrize("rule", ["mask", "median"])
def test_a_date_without_values_changes_nothing(rule):
    treated, count = treated_date(np.full(4, np.nan), rule)
    assert np.isnan(treated).all()
    assert count == 0


def test_unknown_rules_and_impossible_sigmas_are_refused_by_name():
    with pytest.raises(GeoAssetsError, match=r"outliers\.rule: 'clip' .* none, mask, median"):
        treated_date(one_date(), "clip")
    for sigma in (0, -1, np.nan):
        with pytest.raises(GeoAssetsError, match=r"outliers\.n_sigma: .* above 0"):
            treated_date(one_date(), "mask", sigma)


@given(
    st.lists(
        st.one_of(st.floats(-20, 20), st.sampled_from([0.1, 0.10001, 0.5, np.nan])), max_size=40
    ),
    st.integers(1, 5),
)
def test_the_spread_of_parts_is_that_of_the_whole(values, parts):
    date = np.array(values, np.float64)
    spread = spread_of(lambda: np.array_split(date, parts))
    known = date[~np.isnan(date)]
    if known.size:
        centre = np.median(known)
        assert spread.centre == centre
        assert spread.sigma == NORMAL_SIGMA_PER_MAD * np.median(np.abs(known - centre))
    else:
        assert spread.sigma == 0
