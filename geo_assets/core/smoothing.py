"""Series of irregular dates, their gaps filled and their noise smoothed.

Nothing is extrapolated: before a pixel's first and after its last observation, and in gaps longer
than asked, the result is missing, whatever the filter.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["linear", "savitzky-golay", "whittaker"]

_DIFFERENCES = 2
"""Order of the differences that Whittaker's filter keeps small."""

_EVEN_VALUES = 2**21
"""Values at even steps that are filtered at once: after years without a date there are far more of
them than of observations. Bounds memory, not results."""


@dataclass(frozen=True)
class SmoothingRules:
    """How a series is smoothed.

    Attributes:
        method: ``linear`` fills gaps and changes no observation.
        max_gap_days: Longest gap between two observations that is filled, in days.
        window: Dates of a Savitzky-Golay window, odd.
        order: Degree of its polynomials.
        strength: Lambda of the Whittaker filter.
    """

    method: Method = "linear"
    max_gap_days: int = 62
    window: int = 7
    order: int = 2
    strength: float = 10.0

    def to_dict(self) -> dict[str, Any]:
        """Return what decides values, as JSON values."""
        said = asdict(self)
        idle = {
            "linear": ("window", "order", "strength"),
            "savitzky-golay": ("strength",),
            "whittaker": ("window", "order"),
        }[self.method]
        return {name: value for name, value in said.items() if name not in idle}

    def describe(self) -> str:
        """Return the method and its numbers in a few words."""
        numbers = {k: v for k, v in self.to_dict().items() if k != "method"}
        return f"{self.method}: " + ", ".join(f"{name} {value}" for name, value in numbers.items())


def smooth_series(
    values: NDArray[np.floating[Any]], days: NDArray[np.datetime64], rules: SmoothingRules
) -> NDArray[np.float64]:
    """Return series with gaps filled, and smoothed.

    - ``linear``: between its neighbours in time, by days.
    - ``savitzky-golay`` (Savitzky and Golay 1964, doi:10.1021/ac60214a047; ``scipy.signal``) needs
      a regular axis: the filled series is read, linear in time, at steps as even as the median
      distance of the dates, filtered there, and read back at the dates. On regular dates that
      changes nothing. Fewer steps than a window: filled only. Beyond a pixel's first and last
      observation the filter sees that observation.
    - ``whittaker`` (Eilers 2003, doi:10.1021/ac034173t; ``whittaker_eilers``) knows irregular
      dates: second differences over time, in units of the median distance of the dates, so that
      lambda means what it means for regular ones.

    Args:
        values: (time, ...) float, NaN where missing.
        days: (time,) rising, each once.
        rules: How.

    Returns:
        The shape of ``values``, float64.

    Raises:
        GeoAssetsError: If dates do not fit the values or do not rise.
    """
    if len(days) != len(values):
        raise GeoAssetsError(f"smoothing: {len(days)} dates for {len(values)} layers")
    position = days.astype("datetime64[D]").astype(np.int64).astype(np.float64)
    if (np.diff(position) <= 0).any():
        raise GeoAssetsError("smoothing: dates must rise, each once")
    series = np.asarray(values, np.float64).reshape(len(values), math.prod(values.shape[1:]))
    if len(series) < 2 or series.shape[1] == 0:
        return series.reshape(values.shape)
    complete, inside = _filled(series, position, rules.max_gap_days)
    if rules.method == "savitzky-golay":
        complete = _savitzky_golay(complete, position, rules)
    elif rules.method == "whittaker":
        complete = _whittaker(series, complete, position, rules)
    complete[~inside] = np.nan
    return complete.reshape(values.shape)


def _filled(
    series: NDArray[np.float64], position: NDArray[np.float64], max_gap_days: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fill everything, and say where that is more than a guess: in gaps short enough."""
    known = ~np.isnan(series)
    row = np.arange(len(series))[:, np.newaxis]
    before = np.maximum.accumulate(np.where(known, row, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, row, len(series))[::-1], axis=0)[::-1]
    first, last = before >= 0, after < len(series)
    before, after = np.where(first, before, after), np.where(last, after, before)
    # A series without any observation: both ends point nowhere.
    before, after = (np.clip(index, 0, len(series) - 1) for index in (before, after))
    start, end = position[before], position[after]
    gap = end - start
    weight = np.divide(position[:, np.newaxis] - start, gap, out=np.zeros_like(gap), where=gap > 0)
    left = np.take_along_axis(series, before, axis=0)
    right = np.take_along_axis(series, after, axis=0)
    filled = np.where(known, series, left + (right - left) * weight)
    return filled, known | (first & last & (gap <= max_gap_days))


def _savitzky_golay(
    complete: NDArray[np.float64], position: NDArray[np.float64], rules: SmoothingRules
) -> NDArray[np.float64]:
    from scipy.signal import savgol_filter

    steps = round((position[-1] - position[0]) / float(np.median(np.diff(position)))) + 1
    if steps < rules.window:
        return complete
    axis = np.linspace(position[0], position[-1], steps)
    smooth = np.empty_like(complete)
    width = max(_EVEN_VALUES // steps, 1)
    for left in range(0, complete.shape[1], width):
        some = slice(left, left + width)
        given = np.nan_to_num(complete[:, some])  # series without any value are 0
        even = _read_at(given, position, axis)
        even = savgol_filter(even, rules.window, rules.order, axis=0, mode="interp")
        smooth[:, some] = _read_at(even, axis, position)
    return smooth


def _read_at(
    series: NDArray[np.float64], there: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Read series, linear in time, at positions within theirs."""
    right = np.clip(np.searchsorted(there, wanted), 1, len(there) - 1)
    weight = ((wanted - there[right - 1]) / (there[right] - there[right - 1]))[:, np.newaxis]
    return np.where(
        weight == 1, series[right], series[right - 1] + (series[right] - series[right - 1]) * weight
    )


def _whittaker(
    series: NDArray[np.float64],
    complete: NDArray[np.float64],
    position: NDArray[np.float64],
    rules: SmoothingRules,
) -> NDArray[np.float64]:
    from whittaker_eilers import WhittakerSmoother

    if len(series) <= _DIFFERENCES:
        return complete
    known = ~np.isnan(series)
    smooth = complete.copy()
    x = ((position - position[0]) / float(np.median(np.diff(position)))).tolist()
    # Its divided differences over even steps of 1 are the plain ones by the factorial of the order.
    strength = rules.strength * math.factorial(_DIFFERENCES) ** 2
    smoother = WhittakerSmoother(strength, _DIFFERENCES, len(series), x)
    # Pixels with the same gaps share a factorisation.
    patterns, which = np.unique(np.packbits(known, axis=0), axis=1, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(which.ravel(), minlength=patterns.shape[1]))
    for pixels in np.split(order, ends[:-1]):
        weights = known[:, pixels[0]]
        if np.count_nonzero(weights) <= _DIFFERENCES:
            continue
        smoother.update_weights(weights.astype(np.float64).tolist())
        given = np.where(weights[:, np.newaxis], series[:, pixels], 0.0)
        smooth[:, pixels] = np.array(smoother.smooth_parallel(given.T.tolist()), np.float64).T
    return smooth
