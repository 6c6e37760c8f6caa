"""Pictures of a composite: its RGB with the labels' outlines, every band by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.palette import (
    IGNORED_OUTLINE,
    OUTLINE_GROUND,
    ClassTable,
    complete_table,
    paint_labels,
    rgb_of,
)
from geo_assets.previews.raster import (
    Array,
    Mask,
    as_bands,
    display_shape,
    outlines,
    resample_labels,
    validity,
)
from geo_assets.previews.rgb import shown
from geo_assets.previews.style import (
    GAP,
    LABEL_HEIGHT,
    LEGEND_ROW,
    MARGIN,
    SMALL_SIZE,
    LegendItem,
    Sheet,
    nothing_here,
    side_legend,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PHOTO_SIDE = 360
_SHEET_WIDTH = 880
_BAND_PIXELS = 112_000
"""Pixels that the bands of one picture share: what a palette PNG holds below its bound."""


def rgb_with_labels(
    data: Array,
    labels: NDArray[np.uint8] | None = None,
    classes: ClassTable | None = None,
    valid: Mask | None = None,
    *,
    title: str = "Composite",
    subtitle: str = "",
) -> bytes:
    """Return the photograph of a composite with its label patches outlined, and their legend.

    Args:
        data: Red, green and blue (3, y, x), or one band (1, y, x).
        labels: (y, x) uint8: 0 unlabelled, 1..254 class, 255 ignored; None = no labels.
        classes: Names and colours of the label values.
        valid: True = datum, (y, x) or (band, y, x).
        title: Heading.
        subtitle: Second line.
    """
    bands = as_bands(data)
    if not validity(bands, valid).any():
        return nothing_here(title, "no pixel of this composite has data")
    height, width = display_shape(bands.shape[1:], _PHOTO_SIDE, _PHOTO_SIDE)
    photograph, known = shown(bands, valid, (height, width))
    items: list[LegendItem] = []
    if labels is not None:
        nothing = LegendItem("no labels here", OUTLINE_GROUND, "outline")
        items = outline_legend(classes or {}, [labels]) or [nothing]
    top = Sheet.top(title, subtitle)
    columns, legend_width = side_legend(items, height) if items else (1, 0)
    sheet = Sheet(
        max(2 * MARGIN + width + (legend_width + MARGIN if items else 0), 360),
        top + max(height, -(-len(items) // columns) * LEGEND_ROW) + MARGIN,
        title,
        subtitle,
    )
    sheet.photo(MARGIN, top, photograph, known)
    if labels is not None:
        draw_outlines(sheet, (MARGIN, top), labels, classes or {}, known.shape)
    sheet.frame(MARGIN, top, width, height)
    sheet.legend(2 * MARGIN + width, top, items, legend_width, columns)
    return sheet.png()


def outline_legend(classes: ClassTable, labels: Sequence[NDArray[np.uint8]]) -> list[LegendItem]:
    """Return the legend of the outlined classes that these label arrays hold."""
    present = sorted({value for array in labels for value in np.unique(array).tolist()} - {0})
    table = complete_table(classes, np.array(present, np.uint8))
    items = [LegendItem(*table[value], "outline") for value in present if value != 255]
    if 255 in present:
        items.append(LegendItem("other split (ignored)", IGNORED_OUTLINE, "outline"))
    return items


def draw_outlines(
    sheet: Sheet,
    position: tuple[int, int],
    labels: NDArray[np.uint8],
    classes: ClassTable,
    shape: tuple[int, int],
) -> None:
    """Draw the outline of every label patch over a photograph of ``shape`` (rows, columns).

    ``position`` is the photograph's (x, y) on the sheet.
    """
    x, y = position
    small = resample_labels(labels, shape, favour_classes=True)
    grown, rim, halo = outlines(small)
    sheet.paint(x, y, np.full((*shape, 3), rgb_of("#101418"), np.uint8), halo)
    painted = paint_labels(grown, complete_table(classes, labels), ignored=IGNORED_OUTLINE)
    sheet.paint(x, y, painted, rim)


def band_panels(
    data: Array,
    bands: Sequence[str],
    valid: Mask | None = None,
    *,
    title: str = "Bands",
    subtitle: str = "each stretched between its 0.5th and 99.5th percentile",
) -> bytes:
    """Return every band as a small grey picture with its name.

    Args:
        data: (band, y, x).
        bands: Their names.
        valid: True = datum, (y, x) or (band, y, x).
        title: Heading.
        subtitle: Second line.

    Raises:
        GeoAssetsError: There are not as many names as bands.
    """
    data = as_bands(data)
    if len(bands) != len(data):
        raise GeoAssetsError(f"{len(bands)} band names for {len(data)} bands: {list(bands)}")
    masks = [_band_mask(data, valid, index) for index in range(len(data))]
    if not any(mask.any() for mask in masks):
        return nothing_here(title, "no pixel of this composite has data")
    columns, side = _panel_layout(len(data))
    height, width = display_shape(data.shape[1:], side, side)
    pictures = [
        shown(data[index : index + 1], masks[index], (height, width)) for index in range(len(data))
    ]
    rows = -(-len(data) // columns)
    top = Sheet.top(title, subtitle)
    sheet = Sheet(
        max(2 * MARGIN + columns * (width + GAP) - GAP, 380),
        top + rows * (height + LABEL_HEIGHT + GAP) - GAP + MARGIN,
        title,
        subtitle,
    )
    for index, (name, (photograph, known)) in enumerate(zip(bands, pictures, strict=True)):
        left = MARGIN + index % columns * (width + GAP)
        upper = top + index // columns * (height + LABEL_HEIGHT + GAP)
        sheet.text(left, upper, name, size=SMALL_SIZE, bold=True, room=width)
        sheet.photo(left, upper + LABEL_HEIGHT, photograph, known)
        sheet.frame(left, upper + LABEL_HEIGHT, width, height)
    return sheet.png()


def _band_mask(data: Array, valid: Mask | None, index: int) -> Mask:
    if valid is not None and valid.ndim == 3:
        valid = valid[index]
    return validity(data[index : index + 1], valid)


def _panel_layout(count: int) -> tuple[int, int]:
    """Return (columns, side in pixels) of ``count`` square panels on a sheet."""
    rows = 1 if count <= 4 else 2 if count <= 14 else -(-count // 7)
    columns = -(-count // rows)
    side = (_SHEET_WIDTH - 2 * MARGIN + GAP) // columns - GAP
    return columns, min(side, int((_BAND_PIXELS / count) ** 0.5))
