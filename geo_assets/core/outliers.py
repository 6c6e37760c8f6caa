"""Values far from the rest of their date: left alone, dropped or replaced, never in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OutlierRule = Literal["none", "mask", "median"]
"""``none`` leaves every value, ``mask`` makes outliers missing, ``median`` replaces them by it."""

NORMAL_SIGMA_PER_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation
(Rousseeuw and Croux 1993, doi:10.1080/01621459.1993.10476408)."""


_BINS = 2**16
_STEPS_PER_UNIT = 10_000


@dataclass(frozen=True)
class Spread:
    """Where the values of one date lie."""

    centre: float
    """Their median."""
    sigma: float
    """1.4826 times their median absolute deviation (MAD) about it. 0, because half of the values
    are equal or there are none, says nothing about spread."""


Parts = Callable[[], Iterable["NDArray[np.floating[Any]]"]]
"""Gives the values of a date in parts, NaN where missing; called for each pass."""


def spread_of(parts: Parts) -> Spread:
    """Return the spread of one date, exactly, with one part in memory at a time.

    Clouds and pixels outside the area are masked before, values are quantised after.
    """
    centre = _median(parts)
    deviation = _median(lambda: (np.abs(part - np.float64(centre)) for part in parts()))
    return Spread(centre, NORMAL_SIGMA_PER_MAD * deviation)


def treat_outliers(
    values: NDArray[np.floating[Any]], spread: Spread, rule: OutlierRule, n_sigma: float
) -> tuple[NDArray[np.floating[Any]], int]:
    """Treat values that lie more than ``n_sigma`` robust sigmas from the median of their date.

    Args:
        values: A part of the date, float of any shape, NaN where missing; not changed.
        spread: Of the whole date; a sigma of 0 changes nothing.
        rule: What happens to outliers.
        n_sigma: Robust sigmas, above 0; a value at exactly that distance stays.

    Returns:
        The values in the same shape and dtype, and the number of outliers treated (0 for
        ``none``, which does not look for any).

    Raises:
        GeoAssetsError: If the rule is unknown or ``n_sigma`` is not above 0.
    """
    if rule not in get_args(OutlierRule):
        msg = f"outliers.rule: {rule!r} is unknown; allowed: {', '.join(get_args(OutlierRule))}"
        raise GeoAssetsError(msg)
    if not n_sigma > 0:
        msg = f"outliers.n_sigma: {n_sigma}; allowed: above 0"
        raise GeoAssetsError(msg)
    if rule == "none" or spread.sigma == 0:
        return values, 0
    far = np.abs(values - np.float64(spread.centre)) > n_sigma * spread.sigma
    treated = values.copy()
    treated[far] = np.nan if rule == "mask" else spread.centre
    return treated, int(np.count_nonzero(far))


def _median(parts: Parts) -> float:
    """Return the median of values, NaN left out; 0 of none.

    A first pass counts them in bins of 1e-4, which are in the order of the values; a second one
    gathers those of the bins that hold the middle two.
    """
    counts = np.zeros(_BINS, np.int64)
    for part in parts():
        counts += np.bincount(_bins_of(_known(part)), minlength=_BINS)
    ends = np.cumsum(counts)
    total = int(ends[-1])
    if total == 0:
        return 0.0
    ranks = np.array([(total - 1) // 2, total // 2])
    low, high = np.searchsorted(ends, ranks, side="right")
    gathered = []
    for part in parts():
        known = _known(part)
        bins = _bins_of(known)
        gathered.append(known[(bins >= low) & (bins <= high)])
    middle = np.partition(np.concatenate(gathered), ranks - (ends[low] - counts[low]))
    return float(middle[ranks - (ends[low] - counts[low])].mean())


def _known(part: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    known: NDArray[np.float64] = part[~np.isnan(part)].astype(np.float64)
    return known


def _bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    steps = np.rint(values * _STEPS_PER_UNIT) + _BINS // 2
    bins: NDArray[np.int64] = np.clip(steps, 0, _BINS - 1).astype(np.int64)
    return bins
