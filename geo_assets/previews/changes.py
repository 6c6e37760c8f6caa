"""Pictures of what becomes of clusters: transitions, areas through time, the map of drops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geo_assets.previews.cubes import as_days
from geo_assets.previews.palette import (
    ACCENT,
    INK,
    MUTED,
    NO_DATA,
    PAPER,
    UNLABELLED,
    ClassTable,
    complete_table,
    rgb_of,
)
from geo_assets.previews.raster import display_shape, resample_labels
from geo_assets.previews.style import (
    GAP,
    LABEL_HEIGHT,
    LEGEND_ROW,
    MARGIN,
    SMALL_SIZE,
    LegendItem,
    Sheet,
    nothing_here,
    short_number,
    side_legend,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geo_assets.previews.cubes import Dates

_CELL: Final = 40
_LEAST_CELL: Final = 18
_MATRIX: Final = 360
_WIDTH: Final = 560
_HEIGHT: Final = 250
_SIDE: Final = 420
_ENDS: Final = (0.02, 0.04, 0.1, 0.2, 0.4, 1.0)
"""Where an axis of shares may end: quarters of them are round."""
_DROP_COLOURS: Final = ("#fde5a4", "#f5a65b", "#d55e00", "#8a2f00", "#4a1486")
"""Early to late: none of them is a colour of NDVI."""


def transition_map(
    counts: NDArray[np.int64],
    classes: ClassTable,
    *,
    title: str = "What becomes of each cluster",
    subtitle: str = "",
    counted: str = "its pixels, over all steps",
) -> bytes:
    """Return transition counts as a heat map: of each row, the share that goes to each column.

    Args:
        counts: (K, K), from row to column.
        classes: Names and colours of the clusters.
        title: Heading.
        subtitle: Second line.
        counted: What the sum of a row counts.
    """
    table = complete_table(classes)
    if not counts.any():
        return nothing_here(title, "no pixel has a label on two dates")
    k = len(counts)
    cell = max(_LEAST_CELL, min(_CELL, _MATRIX // k))
    names = [name for name, _ in table.values()]
    probe = Sheet(1, 1)
    left = MARGIN + 22 + max(probe.text_width(name, SMALL_SIZE) for name in names) + 8
    top = Sheet.top(title, subtitle) + LABEL_HEIGHT + 18
    sheet = Sheet(max(left + k * cell + MARGIN + 60, 380), top + k * cell + 40, title, subtitle)
    sheet.text(left, top - 36, "to", size=SMALL_SIZE, bold=True)
    sheet.text(MARGIN, top - 18, "from", size=SMALL_SIZE, bold=True)
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    for row, (name, (_, colour)) in enumerate(zip(names, table.values(), strict=True)):
        y = top + row * cell
        sheet.fill(MARGIN, y + cell // 2 - 7, 14, 14, colour)
        sheet.text(MARGIN + 22, y + cell // 2 - 7, name, size=SMALL_SIZE)
        sheet.fill(left + row * cell + cell // 2 - 7, top - 18, 14, 14, colour)
        for column in range(k):
            share = float(shares[row, column])
            x = left + column * cell
            tone = _blend(PAPER, ACCENT, share**0.7)
            sheet.fill(x, y, cell - 1, cell - 1, tone if totals[row] else NO_DATA)
            if cell >= 30 and totals[row] and share >= 0.005:
                sheet.text(
                    x + (cell - 1) / 2, y + cell / 2 - 7, f"{share:.0%}"[:-1], size=SMALL_SIZE,
                    colour=PAPER if share > 0.45 else INK, align="center",
                )  # fmt: skip
        sheet.text(
            left + k * cell + 6, y + cell // 2 - 7, short_number(int(totals[row])), size=SMALL_SIZE,
            colour=MUTED,
        )  # fmt: skip
    sheet.text(
        MARGIN, top + k * cell + 8, f"percent of each row; at the right {counted}",
        size=SMALL_SIZE, colour=MUTED,
    )  # fmt: skip
    return sheet.png()


def area_series(
    areas: NDArray[np.int64],
    dates: Dates,
    classes: ClassTable,
    *,
    title: str = "Area of each cluster",
    subtitle: str = "",
) -> bytes:
    """Return the share of each cluster in the raster on each date, as stacked bars.

    A bar ends at the date's valid share; what has no label lies above it as no data.

    Args:
        areas: (date, K + 1) pixels; column 0 = no data.
        dates: One a row.
        classes: Names and colours of the clusters.
        title: Heading.
        subtitle: Second line.
    """
    days = as_days(dates)
    table = complete_table(classes)
    if not areas[:, 1:].any():
        return nothing_here(title, "no pixel has a label")
    # Above all clusters lies no data, whose height is what is left.
    colours = [*(colour for _, colour in table.values()), NO_DATA]
    items = [LegendItem(name, colour) for name, colour in table.values()]
    items.append(LegendItem("outside or no data", NO_DATA))
    columns, legend_width = side_legend(items, _HEIGHT)
    height = max(_HEIGHT, -(-len(items) // columns) * LEGEND_ROW)
    top, left = Sheet.top(title, subtitle), MARGIN + 38
    sheet = Sheet(left + _WIDTH + 2 * MARGIN + legend_width, top + height + 84, title, subtitle)
    axes = sheet.axes(left, top, _WIDTH, height)
    shares = np.roll(areas / np.maximum(areas.sum(axis=1), 1)[:, None], -1, axis=1)
    at, below = np.arange(len(days)), np.zeros(len(days))
    for share, colour in zip(shares.T, colours, strict=True):
        axes.bar(at, share, width=0.86, bottom=below, color=colour, linewidth=0)
        below += share
    axes.set_xlim(-0.6, max(len(days), 6) - 0.4)
    # Of whole numbers: a sum of shares may be a little more than 1.
    labelled = areas[:, 1:].sum(axis=1) / np.maximum(areas.sum(axis=1), 1)
    end = _end_of_axis(float(labelled.max()))
    axes.set_ylim(0, end)
    ticks = np.linspace(0, end, 5)
    axes.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    step = -(-len(days) * 15 // _WIDTH)
    axes.set_xticks(at[::step], [str(day) for day in days[::step]], rotation=90)
    axes.grid(visible=False, axis="x")
    sheet.finish_axes(axes)
    sheet.legend(left + _WIDTH + MARGIN, top, items, legend_width, columns)
    return sheet.png()


def drop_map(
    drops: NDArray[np.integer[Any]],
    valid: NDArray[np.bool_],
    dates: Dates,
    *,
    title: str = "Where the label dropped for good, and when",
    subtitle: str = "",
) -> bytes:
    """Return the map of lasting drops, coloured by their date, early to late.

    Args:
        drops: (y, x) number of the date from 1; 0 = none.
        valid: (y, x), where anything is known.
        dates: The dates, in order.
        title: Heading.
        subtitle: Second line.
    """
    days = as_days(dates)
    if not valid.any():
        return nothing_here(title, "no pixel has a label on two dates")
    steps = len(_DROP_COLOURS)
    bins = np.where(drops > 0, (np.maximum(drops, 1) - 1) * steps // max(len(days), 1) + 1, 0)
    classes = np.where(valid, bins + 1, 0).astype(np.uint8)
    height, width = shape = display_shape((drops.shape[0], drops.shape[1]), _SIDE, _SIDE)
    small = resample_labels(classes, shape)
    lookup = np.array([rgb_of(c) for c in (NO_DATA, UNLABELLED, *_DROP_COLOURS)], np.uint8)
    items = []
    for number, colour in enumerate(_DROP_COLOURS):
        members = np.flatnonzero(np.arange(len(days)) * steps // max(len(days), 1) == number)
        if members.size:
            span = sorted({str(days[members[0]]), str(days[members[-1]])})
            share = np.count_nonzero(bins == number + 1) / np.count_nonzero(valid)
            items.append(LegendItem(f"{' to '.join(span)} · {share:.1%}", colour))
    items += [LegendItem("no lasting drop", UNLABELLED), LegendItem("no data", NO_DATA)]
    top = Sheet.top(title, subtitle)
    legend = max(Sheet(1, 1).text_width(item.name) for item in items) + 32
    sheet = Sheet(
        2 * MARGIN + width + GAP + legend, top + max(height, len(items) * LEGEND_ROW) + MARGIN,
        title, subtitle,
    )  # fmt: skip
    sheet.paint(MARGIN, top, lookup[small])
    sheet.frame(MARGIN, top, width, height)
    sheet.legend(MARGIN + width + GAP, top, items, legend, 1)
    return sheet.png()


def _end_of_axis(share: float) -> float:
    """Return where an axis of shares ends: of small ones, as of few polygons, soon above them."""
    return next(end for end in _ENDS if share <= end)


def _blend(low: str, high: str, share: float) -> str:
    mixed = [
        round(a + (b - a) * min(max(share, 0.0), 1.0))
        for a, b in zip(rgb_of(low), rgb_of(high), strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mixed)
