"""Pictures of NDVI cubes: one date with its histogram, a strip of dates, valid shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.palette import (
    ACCENT,
    LINE,
    MUTED,
    NDVI_LEVELS,
    NDVI_RANGE,
    NO_DATA,
    paint_ndvi,
)
from geo_assets.previews.raster import display_shape, resample_values, validity
from geo_assets.previews.style import (
    GAP,
    LABEL_HEIGHT,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    LegendItem,
    Sheet,
    nothing_here,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Dates = Sequence[Any] | NDArray[np.datetime64]

MAX_DATES: Final = 12
_MAP: Final = 330
_PLOT_WIDTH: Final = 330
_STRIP_PIXELS: Final = 150_000
_SHEET_WIDTH: Final = 880


def as_days(dates: Dates) -> NDArray[np.datetime64]:
    """Return dates (ISO text, ``datetime``, ``numpy.datetime64``) as days.

    Raises:
        GeoAssetsError: One of them is no date.
    """
    try:
        days = [np.datetime64(str(date)[:10], "D") for date in dates]
    except ValueError as error:
        raise GeoAssetsError(f"not a date of the form YYYY-MM-DD: {error}") from None
    return np.array(days, "datetime64[D]")


def ndvi_map(ndvi: NDArray[np.floating], *, title: str = "NDVI", subtitle: str = "") -> bytes:
    """Return the map of one date's NDVI beside its histogram and figures.

    Args:
        ndvi: (y, x), -1..1, NaN = no data.
        title: Heading.
        subtitle: Second line, such as the date.
    """
    known = validity(_plane(ndvi)[np.newaxis])
    if not known.any():
        return nothing_here(title, "no pixel of this date has data")
    height, width = display_shape(known.shape, _MAP, _MAP)
    painted = shown_ndvi(ndvi, (height, width))
    top = Sheet.top(title, subtitle)
    body = max(height, 230)
    left = MARGIN + width + 2 * MARGIN + 14
    sheet = Sheet(left + _PLOT_WIDTH + MARGIN, top + body + MARGIN, title, subtitle)
    sheet.photo(MARGIN, top, painted)
    sheet.frame(MARGIN, top, width, height)

    values = ndvi[known].astype(np.float64)
    low, middle, high = np.percentile(values, (5, 50, 95))
    facts = (
        ("median", f"{middle:.3f}"),
        ("5 to 95 %", f"{low:.2f} … {high:.2f}"),
        ("valid", f"{known.mean():.1%}"),
    )
    for index, (name, fact) in enumerate(facts):
        x = left + index * (_PLOT_WIDTH // 3)
        sheet.text(x, top, name, size=SMALL_SIZE, colour=MUTED)
        sheet.text(x, top + 16, fact, size=TEXT_SIZE + 1, bold=True)
    plot_height = body - 46 - 44
    axes = sheet.axes(left, top + 46, _PLOT_WIDTH, plot_height)
    _histogram(axes, values, known.size)
    axes.axvline(middle, color="#1f2933", linewidth=1.0)
    axes.set_xlim(*NDVI_RANGE)
    axes.set_ylabel("")
    sheet.finish_axes(axes)
    colour_bar(sheet, left, top + body - 24, _PLOT_WIDTH, ticks=False)
    sheet.text(left, top + body - 10, "NDVI", size=SMALL_SIZE, colour=MUTED)
    sheet.fill(left + _PLOT_WIDTH - 64, top + body - 10, 12, 11, NO_DATA)
    sheet.text(
        left + _PLOT_WIDTH, top + body - 10, "no data", size=SMALL_SIZE, colour=MUTED,
        align="right",
    )  # fmt: skip
    return sheet.png()


def ndvi_strip(
    cube: NDArray[np.floating], dates: Dates, *, title: str = "NDVI by date", subtitle: str = ""
) -> bytes:
    """Return up to 12 dates, spread evenly, as small maps with their median and valid share.

    Args:
        cube: (time, y, x), -1..1, NaN = no data.
        dates: One date per time step.
        title: Heading.
        subtitle: Second line; by default how many dates there are.

    Raises:
        GeoAssetsError: The number of dates is not that of the cube.
    """
    days = as_days(dates)
    if len(days) != len(cube):
        raise GeoAssetsError(f"{len(days)} dates for {len(cube)} time steps")
    if not cube.size:
        return nothing_here(title, "no date was kept for this cube")
    chosen = np.unique(
        np.linspace(0, len(days) - 1, min(len(days), MAX_DATES)).round().astype(int)
    ).tolist()
    count = len(chosen)
    columns = count if count <= 4 else -(-count // 2)
    room = min(
        (_SHEET_WIDTH - 2 * MARGIN + GAP) // max(columns, 4) - GAP,
        int((_STRIP_PIXELS / count) ** 0.5),
    )
    height, width = display_shape((cube.shape[1], cube.shape[2]), room, room)
    rows = -(-count // columns)
    step_x, step_y = max(width, 104) + GAP, height + 2 * LABEL_HEIGHT + GAP
    subtitle = (
        subtitle or f"{count} of {len(days)} dates, {days[0]} to {days[-1]}; median and valid share"
    )
    top = Sheet.top(title, subtitle)
    foot = top + rows * step_y
    sheet = Sheet(max(2 * MARGIN + columns * step_x - GAP, 440), foot + 46, title, subtitle)
    for place, index in enumerate(chosen):
        x, y = MARGIN + place % columns * step_x, top + place // columns * step_y
        plane = cube[index]
        known = np.isfinite(plane)
        fact = (
            f"{np.median(plane[known]):.2f}  ·  {known.mean():.0%}" if known.any() else ("no data")
        )
        sheet.text(x, y, str(days[index]), size=SMALL_SIZE, bold=True)
        painted = shown_ndvi(plane, (height, width))
        sheet.photo(x, y + LABEL_HEIGHT, painted)
        sheet.frame(x, y + LABEL_HEIGHT, width, height)
        sheet.text(x, y + LABEL_HEIGHT + height + 4, fact, size=SMALL_SIZE, colour=MUTED)
    colour_bar(sheet, MARGIN + 8, foot, 260)
    sheet.legend(MARGIN + 324, foot - 2, [LegendItem("no data", NO_DATA)], 120)
    return sheet.png()


def valid_share(
    shares: Sequence[float] | NDArray[np.floating],
    dates: Dates,
    *,
    title: str = "Valid share by date",
    subtitle: str = "",
) -> bytes:
    """Return a bar per date: the share (0..1) of the area's pixels that hold a datum.

    Raises:
        GeoAssetsError: There are not as many shares as dates.
    """
    days = as_days(dates)
    values = np.asarray(shares, np.float64)
    if len(days) != len(values):
        raise GeoAssetsError(f"{len(values)} shares for {len(days)} dates")
    if not len(days):
        return nothing_here(title, "no date was kept for this cube")
    dates_there = "1 date" if len(days) == 1 else f"{len(days)} dates"
    subtitle = subtitle or f"{dates_there}  ·  mean {np.nanmean(values) * 100:.0f} %"
    top = Sheet.top(title, subtitle)
    width, height = min(max(30 * len(days), 380), 800), 150
    sheet = Sheet(width + 2 * MARGIN + 34, top + height + 84, title, subtitle)
    axes = sheet.axes(MARGIN + 34, top, width, height)
    positions = np.arange(len(days))
    axes.bar(positions, np.ones(len(days)), width=0.82, color=LINE, alpha=0.35, linewidth=0)
    axes.bar(positions, values, width=0.82, color=ACCENT, linewidth=0)
    axes.set_xlim(-0.6, max(len(days), 6) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    step = -(-len(days) * 15 // width)
    axes.set_xticks(positions[::step], [str(day) for day in days[::step]], rotation=90)
    axes.grid(visible=False, axis="x")
    sheet.finish_axes(axes)
    return sheet.png()


def shown_ndvi(ndvi: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return NDVI (y, x), NaN = no data, as colours (y, x, 3) of ``shape`` (rows, columns)."""
    bands = _plane(ndvi)[np.newaxis]
    known = validity(bands)
    small, seen = resample_values(bands, known, shape)
    return paint_ndvi(np.where(seen, small[0], np.nan))


def colour_bar(sheet: Sheet, x: int, y: int, width: int, *, ticks: bool = True) -> None:
    """Draw the NDVI colours with their values, 10 pixels high and 14 more for the values."""
    low, high = NDVI_RANGE
    ramp = paint_ndvi(low + (np.arange(width) + 0.5) / width * (high - low))
    sheet.paint(x, y, np.tile(ramp, (10, 1, 1)))
    for value in (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0) if ticks else ():
        at = x + (value - low) / (high - low) * width
        name = f"{value:g}"
        sheet.text(at, y + 13, name, size=SMALL_SIZE, colour=MUTED, align="center")
    if ticks:
        sheet.text(x + width + 6, y - 1, "NDVI", size=SMALL_SIZE, colour=MUTED)


def _histogram(axes: Axes, values: NDArray[np.float64], pixels: int) -> None:
    """Draw shares of all pixels in the steps of the colour map, coloured by it."""
    edges = np.linspace(*NDVI_RANGE, NDVI_LEVELS + 1)
    counts, _ = np.histogram(np.clip(values, *NDVI_RANGE), edges)
    centres = (edges[:-1] + edges[1:]) / 2
    axes.bar(
        centres, counts / pixels * 100, width=np.diff(edges) * 0.92, linewidth=0,
        color=paint_ndvi(centres) / 255,
    )  # fmt: skip
    axes.set_xticks(
        [-0.2, 0, 0.2, 0.4, 0.6, 0.8, 1], ["-0.2", "0", "0.2", "0.4", "0.6", "0.8", "1"]
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.locator_params(axis="y", nbins=5)
    axes.grid(visible=False, axis="x")


def _plane(ndvi: NDArray[np.floating]) -> NDArray[np.floating]:
    if ndvi.ndim != 2:
        raise GeoAssetsError(f"NDVI of shape {ndvi.shape}: (y, x) is allowed")
    return ndvi
