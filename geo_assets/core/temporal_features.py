"""Features of time: a cube on a regular axis, with gaps filled openly or left open.

Clustering the features is ``pixel_kmeans``; masks of area and clouds are in the cube already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from geo_assets.core.compositing import reduce_stack
from geo_assets.core.indices import MISSING, NDVI_SCALE
from geo_assets.core.kernels.gap_filling import fill_gaps
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Every = Literal["date", "10d", "month"]
"""Step of the axis: each acquisition, a dekad (days 1-10, 11-20, 21-end of a month, as in openEO's
``aggregate_temporal_period``), or a calendar month."""

_BLOCK_BYTES = 2 * 2**20
"""Bytes of float64 features that are filled at once: what the cache of a processor holds."""


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """A regular axis and where acquisitions lie on it.

    The axis hangs on the calendar, not on the first acquisition, so that two areas with other
    acquisitions in the same period have the same axis.

    Attributes:
        steps: (step,) datetime64[D], first day of each step (``date``: the acquisition), rising.
        centers: (step,) float64, middle of each step in days since 1970-01-01.
        step_of: (time,) index of the step that holds each acquisition.
    """

    steps: NDArray[np.datetime64]
    centers: NDArray[np.float64]
    step_of: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class TemporalFeatures:
    """A cube on a regular axis.

    Attributes:
        values: (step, y, x) float32 in units of the index, NaN where nothing is known.
        steps: (step,) datetime64[D], first day of each step.
        complete: (y, x) bool, True where no step is missing: the pixels that can be clustered.
        filled_share: Share of the values that were filled, of all values that are not missing.
        held_share: The part of it that repeats the nearest value beyond the first or last one.
    """

    values: NDArray[np.float32]
    steps: NDArray[np.datetime64]
    complete: NDArray[np.bool_]
    filled_share: float
    held_share: float


def time_axis(
    times: NDArray[np.datetime64],
    every: Every,
    period: tuple[np.datetime64, np.datetime64] | None = None,
) -> TimeAxis:
    """Return the axis of acquisitions.

    Args:
        times: (time,) datetime64, one a day, rising.
        every: Step.
        period: First and last day of the axis, both included; None: the acquisitions'. Every
            acquisition must lie within. The axis of ``date`` is that of the acquisitions anyway.

    Raises:
        GeoAssetsError: If there are no times, they do not rise day by day or leave the period, or
            the step is unknown.
    """
    days = times.astype("datetime64[D]")
    if every not in get_args(Every):
        msg = f"every: {every!r} is unknown; allowed: {', '.join(get_args(Every))}"
        raise GeoAssetsError(msg)
    if days.size == 0:
        msg = "times: no acquisition; at least one is needed"
        raise GeoAssetsError(msg)
    falls = np.flatnonzero(np.diff(days) <= np.timedelta64(0, "D"))
    if falls.size:
        msg = f"times: {days[falls[0] + 1]} follows {days[falls[0]]}; they must rise day by day"
        raise GeoAssetsError(msg)
    ends = days[[0, -1]] if period is None else np.array(period, "datetime64[D]")
    first, last = ends
    if days[0] < first or days[-1] > last:
        outside = days[0] if days[0] < first else days[-1]
        msg = f"times: {outside} lies outside the period {first} to {last}"
        raise GeoAssetsError(msg)
    if every == "date":
        return TimeAxis(days, days.astype(np.float64), np.arange(days.size))
    numbers = _step_numbers(ends, every)
    starts = _first_days(np.arange(numbers[0], numbers[1] + 2), every)
    edges = starts.astype(np.float64)
    return TimeAxis(
        steps=starts[:-1],
        centers=(edges[:-1] + edges[1:] - 1) / 2,
        step_of=_step_numbers(days, every) - numbers[0],
    )


def temporal_features(
    values: NDArray[Any],
    times: NDArray[np.datetime64],
    every: Every = "month",
    max_gap_days: int = 62,
    period: tuple[np.datetime64, np.datetime64] | None = None,
    *,
    fill: bool = True,
) -> TemporalFeatures:
    """Return the features of a cube: the median of each step, gaps filled linearly in time.

    A gap between two known steps is filled if their middles lie at most ``max_gap_days`` apart,
    along the straight line in days. Before the first and after the last known step of a pixel the
    nearest value is held for at most ``max_gap_days``. What is further away stays missing.

    Args:
        values: (time, y, x), int16 in steps of 1e-4 with -32768 missing, or float with NaN.
        times: (time,) datetime64, one a day, rising.
        every: Step of the axis.
        max_gap_days: Days, 0 = nothing is filled.
        period: As in ``time_axis``.
        fill: False: gaps stay, for a clustering that ignores what is missing.

    Raises:
        GeoAssetsError: As ``time_axis``; if shapes do not fit, the dtype is another, or
            ``max_gap_days`` is negative.
    """
    if values.ndim != 3 or len(values) != len(times):
        msg = f"shapes: values {values.shape}, times {times.shape}; needed: (time, y, x), (time,)"
        raise GeoAssetsError(msg)
    if values.dtype != np.int16 and values.dtype.kind != "f":
        msg = f"values: dtype {values.dtype}; allowed: int16, float"
        raise GeoAssetsError(msg)
    if max_gap_days < 0:
        msg = f"max_gap_days: {max_gap_days} days; allowed: 0 or more"
        raise GeoAssetsError(msg)
    axis = time_axis(times, every, period)
    steps, (rows, cols) = len(axis.steps), values.shape[1:]
    features = np.empty((steps, rows * cols), np.float32)
    complete = np.empty(rows * cols, bool)
    limit = float(max_gap_days if fill else 0)
    totals = np.zeros(3, np.int64)
    height = max(1, _BLOCK_BYTES // max(steps * cols * 8, 1))
    for top in range(0, rows, height):
        series = _step_medians(values[:, top : top + height], axis).reshape(steps, -1)
        totals += fill_gaps(series, axis.centers, limit, top * cols, features, complete)
    filled, held, known = totals.tolist()
    return TemporalFeatures(
        features.reshape(steps, rows, cols),
        axis.steps,
        complete.reshape(rows, cols),
        filled / max(known, 1),
        held / max(known, 1),
    )


def _step_numbers(days: NDArray[np.datetime64], every: Every) -> NDArray[np.intp]:
    """Number of the month, or of the dekad, that holds each day, counted from 1970-01-01."""
    months = days.astype("datetime64[M]")
    numbers = months.astype(np.intp)
    if every == "month":
        return numbers
    day_of_month = (days - months.astype("datetime64[D]")).astype(np.intp)
    dekads: NDArray[np.intp] = 3 * numbers + np.minimum(day_of_month // 10, 2)
    return dekads


def _first_days(numbers: NDArray[np.intp], every: Every) -> NDArray[np.datetime64]:
    """First day of each month or dekad by its number."""
    if every == "month":
        return numbers.astype("datetime64[M]").astype("datetime64[D]")
    months = (numbers // 3).astype("datetime64[M]").astype("datetime64[D]")
    days: NDArray[np.datetime64] = months + (numbers % 3 * 10).astype("timedelta64[D]")
    return days


def _step_medians(values: NDArray[Any], axis: TimeAxis) -> NDArray[np.float64]:
    """Return the median of each step (step, y, x) in units of the index, NaN where missing."""
    quantised = values.dtype == np.int16
    medians = np.full((len(axis.steps), *values.shape[1:]), np.nan)
    for step in np.unique(axis.step_of):
        members = np.flatnonzero(axis.step_of == step)
        stack = values[members]
        valid = stack != MISSING if quantised else ~np.isnan(stack)
        if len(members) == 1:
            np.copyto(medians[step], stack[0], where=valid[0])
        else:
            image, _ = reduce_stack(stack[:, np.newaxis], valid, "median", np.float64)
            medians[step] = image[0]
    if quantised:
        medians *= NDVI_SCALE
    return medians
