"""Gaps of time series filled along the straight line in time, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP = 128
"""Pixels whose series fit the cache together."""


@kernel
def fill_gaps(  # noqa: PLR0917  # positional, as compiled functions are called
    series: NDArray[np.float64],
    days: NDArray[np.float64],
    limit: float,
    start: int,
    out: NDArray[np.float32],
    complete: NDArray[np.bool_],
) -> tuple[int, int, int]:
    """Write series with short gaps filled; return the numbers of filled, held and known values.

    Args:
        series: (step, pixel), NaN where missing.
        days: (step,), rising.
        limit: Longest gap in days: between its neighbours, or from a step before the first or after
            the last known one to that one, whose value it then holds.
        start: Column of ``out`` that gets the first pixel.
        out: (step, n), written.
        complete: (n,), written: whether nothing is missing.
    """
    steps, pixels = series.shape
    filled = held = known = 0
    for strip in range(0, pixels, _STRIP):
        for pixel in range(strip, min(strip + _STRIP, pixels)):
            last = -1
            present = 0
            for step in range(steps):
                value = series[step, pixel]
                out[step, start + pixel] = value
                if np.isnan(value):
                    continue
                present += 1
                if last < 0:
                    for gap in range(step):
                        if days[step] - days[gap] <= limit:
                            out[gap, start + pixel] = value
                            held += 1
                            present += 1
                elif step - last > 1 and days[step] - days[last] <= limit:
                    span = days[step] - days[last]
                    low = series[last, pixel]
                    for gap in range(last + 1, step):
                        weight = (days[gap] - days[last]) / span
                        out[gap, start + pixel] = low + (value - low) * weight
                    filled += step - last - 1
                    present += step - last - 1
                last = step
            if last >= 0:
                for gap in range(last + 1, steps):
                    if days[gap] - days[last] <= limit:
                        out[gap, start + pixel] = series[last, pixel]
                        held += 1
                        present += 1
            known += present
            complete[start + pixel] = present == steps
    return filled + held, held, known
