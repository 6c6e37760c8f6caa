"""The picture of cluster centres over bands and indices: what each cluster looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.palette import PAPER, ClassTable, complete_table
from geo_assets.previews.style import (
    LABEL_HEIGHT,
    LEGEND_ROW,
    MARGIN,
    SMALL_SIZE,
    LegendItem,
    Sheet,
    side_legend,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets.previews.raster import Array

_BAND: Final = 56
_LEAST: Final = 110
_HEIGHT: Final = 250
_LEFT: Final = 44


def centre_spectra(
    centres: Array,
    bands: Sequence[str],
    indices: Sequence[str],
    classes: ClassTable,
    *,
    title: str = "Centre of each cluster",
    subtitle: str = "",
) -> bytes:
    """Return the centres as lines over the bands, and beside them over the indices.

    Args:
        centres: (class, band + index), in the units of the bands; row 0 is the first class.
        bands: Names of the bands.
        indices: Names of the indices, drawn on a scale of their own.
        classes: Names and colours, as many as there are rows.
        title: Heading.
        subtitle: Second line.

    Raises:
        GeoAssetsError: Rows and classes, or columns and names, are not equally many.
    """
    table = complete_table(classes)
    if centres.shape != (len(table), len(bands) + len(indices)):
        raise GeoAssetsError(
            f"centres of shape {centres.shape} for {len(table)} classes, {len(bands)} bands and "
            f"{len(indices)} indices"
        )
    items = [LegendItem(name, colour) for name, colour in table.values()]
    columns, legend_width = side_legend(items, _HEIGHT)
    panels = [
        (head, names, values)
        for head, names, values in (
            ("bands", bands, centres[:, : len(bands)]),
            ("indices", indices, centres[:, len(bands) :]),
        )
        if names
    ]
    widths = [min(max(_BAND * len(names), _LEAST), 420) for _, names, _ in panels]
    top = Sheet.top(title, subtitle)
    height = max(_HEIGHT, -(-len(items) // columns) * LEGEND_ROW)
    body = sum(widths) + len(widths) * (_LEFT + MARGIN)
    sheet = Sheet(
        MARGIN + body + legend_width + MARGIN, top + LABEL_HEIGHT + height + 40, title, subtitle
    )
    x = MARGIN
    for (head, names, values), width in zip(panels, widths, strict=True):
        sheet.text(x, top, head, size=SMALL_SIZE, bold=True)
        axes = sheet.axes(x + _LEFT, top + LABEL_HEIGHT, width, height)
        _plot(axes, values, names, table)
        sheet.finish_axes(axes)
        x += _LEFT + width + MARGIN
    sheet.legend(x, top + LABEL_HEIGHT, items, legend_width, columns)
    return sheet.png()


def _plot(axes: Any, values: Array, names: Sequence[str], table: ClassTable) -> None:
    at = np.arange(len(names))
    for row, (_, colour) in enumerate(table.values()):
        axes.plot(
            at, values[row], color=colour, linewidth=2, marker="o", markersize=5,
            markeredgecolor=PAPER, markeredgewidth=0.7,
        )  # fmt: skip
    axes.set_xlim(-0.35, len(names) - 0.65)
    step = -(-len(names) // 10)
    axes.set_xticks(at[::step], list(names)[::step])
    axes.margins(y=0.08)
    axes.locator_params(axis="y", nbins=6)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
