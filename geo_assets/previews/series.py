"""The picture of time series: the mean NDVI of each temporal cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.cubes import as_days
from geo_assets.previews.palette import PAPER, ClassTable, complete_table
from geo_assets.previews.style import (
    LEGEND_ROW,
    MARGIN,
    LegendItem,
    Sheet,
    nothing_here,
    side_legend,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geo_assets.previews.cubes import Dates
    from geo_assets.previews.raster import Array

_WIDTH: Final = 620
_HEIGHT: Final = 270
_MAX_LEGEND: Final = 32
_FEW_DATES: Final = 24
"""Up to so many, markers are large: a value between two gaps is nothing but its marker."""


def ndvi_series(
    series: Array,
    dates: Dates,
    classes: ClassTable,
    *,
    title: str = "Mean NDVI of each cluster",
    subtitle: str = "",
) -> bytes:
    """Return the mean NDVI of each class over time, a line in its colour.

    Args:
        series: (class, time), NaN = no value, a gap in the line; row 0 belongs to the table's
            first class.
        dates: One date per time step.
        classes: Names and colours of the classes, as many as there are rows.
        title: Heading.
        subtitle: Second line.

    Raises:
        GeoAssetsError: Rows and classes, or columns and dates, are not equally many.
    """
    days = as_days(dates)
    table = complete_table(classes)
    if series.shape != (len(table), len(days)):
        raise GeoAssetsError(
            f"series of shape {series.shape} for {len(table)} classes and {len(days)} dates"
        )
    if not np.isfinite(series).any():
        return nothing_here(title, "no cluster has a value on any date")
    items = [LegendItem(name, colour) for name, colour in table.values()]
    top = Sheet.top(title, subtitle)
    items = items[:_MAX_LEGEND]
    columns, legend_width = side_legend(items, _HEIGHT)
    left = MARGIN + 34
    height = max(_HEIGHT, -(-len(items) // columns) * LEGEND_ROW)
    sheet = Sheet(left + _WIDTH + 2 * MARGIN + legend_width, top + height + 46, title, subtitle)
    axes = sheet.axes(left, top, _WIDTH, height)
    _plot_series(axes, series, days, table)
    sheet.finish_axes(axes)
    sheet.legend(left + _WIDTH + MARGIN, top, items, legend_width, columns)
    return sheet.png()


def _plot_series(axes: Any, series: Array, days: NDArray[np.datetime64], table: ClassTable) -> None:
    at = days.astype(np.int64).astype(np.float64)
    size = 5 if len(days) > _FEW_DATES else 8
    for row, (_, colour) in enumerate(table.values()):
        known = np.where(np.isfinite(series[row]), series[row], np.nan)  # no line over a gap
        axes.plot(
            at, known, color=colour, linewidth=2, marker="o", markersize=size,
            markeredgecolor=PAPER, markeredgewidth=0.6,
        )  # fmt: skip
    low, high = float(np.nanmin(series)), float(np.nanmax(series))
    axes.set_ylim(max(-1.0, min(low - 0.05, 0.0)), min(1.0, high + 0.08))
    margin = max(3.0, (at[-1] - at[0]) * 0.02)
    axes.set_xlim(at[0] - margin, at[-1] + margin)
    ticks = _ticks(days)
    of_months = (days == days.astype("datetime64[M]")).all()
    axes.set_xticks(ticks.astype(np.int64), [str(day)[: 7 if of_months else 10] for day in ticks])


def _ticks(days: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return about six of the dates, as evenly as these lie: each tick has its points."""
    whole = days.astype("datetime64[D]").astype(np.int64)
    gaps = np.diff(whole)
    # Months are of 28 to 31 days.
    if not len(gaps) or gaps.max() - gaps.min() <= 3:
        chosen = np.arange(0, len(days), max(-(-len(gaps) // 5), 1))
    else:
        evenly = np.linspace(whole.min(), whole.max(), 6)
        chosen = np.unique(np.abs(whole - evenly[:, np.newaxis]).argmin(axis=1))
    ticks: NDArray[np.datetime64] = days[chosen]
    return ticks
