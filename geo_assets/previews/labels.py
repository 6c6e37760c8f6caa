"""Pictures of label rasters: beside the image, class by class, rebuilt from centres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.cubes import shown_ndvi
from geo_assets.previews.palette import (
    IGNORED,
    MUTED,
    NO_DATA,
    UNLABELLED,
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
    resample_labels,
    validity,
)
from geo_assets.previews.rgb import percentile_limits, shown
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
    from numpy.typing import NDArray


_SIDE: Final = 300
_SIDE_REBUILT: Final = 270
_SIDE_ENLARGED: Final = 345
"""Small rasters may take more room: their repeated cells cost no bytes."""
_SHEET_WIDTH: Final = 880
_MASK_PIXELS: Final = 400_000
_MAX_LEGEND: Final = 32
_EXACT_CENTRES: Final = 64


def label_map(
    data: Array,
    labels: NDArray[np.uint8],
    classes: ClassTable,
    valid: Mask | None = None,
    *,
    title: str = "Labels",
    subtitle: str = "",
    name: str = "",
) -> bytes:
    """Return the photograph beside its label map, with each class' share of the labelled pixels.

    Args:
        data: Red, green and blue (3, y, x), one band, or NDVI as (y, x) floats.
        labels: (y, x) uint8; 0 = no data, 1..254 class, 255 ignored.
        classes: Names and colours of the label values.
        valid: True = datum of ``data``, (y, x) or (band, y, x).
        title: Heading.
        subtitle: Second line.
        name: What the photograph shows, such as its bands.
    """
    if not labels.any():
        return nothing_here(title, "no pixel of this area is labelled")
    shape = _fitted(labels)
    photograph, known = _pictured(data, valid, shape)
    painted = paint_labels(resample_labels(labels, shape), complete_table(classes, labels))
    items = _shares(labels, classes)
    height, width = shape
    top = Sheet.top(title, subtitle)
    second = MARGIN + width + GAP
    legend = second + width + MARGIN
    columns, legend_width = side_legend(items, height)
    body = LABEL_HEIGHT + max(height, -(-len(items) // columns) * LEGEND_ROW)
    sheet = Sheet(legend + legend_width + MARGIN, top + body + MARGIN, title, subtitle)
    sheet.text(MARGIN, top, name or _named(data), size=SMALL_SIZE, bold=True, room=width)
    sheet.photo(MARGIN, top + LABEL_HEIGHT, photograph, known)
    sheet.frame(MARGIN, top + LABEL_HEIGHT, width, height)
    sheet.text(second, top, "labels", size=SMALL_SIZE, bold=True)
    sheet.paint(second, top + LABEL_HEIGHT, painted)
    sheet.frame(second, top + LABEL_HEIGHT, width, height)
    sheet.legend(legend, top + LABEL_HEIGHT, items, legend_width, columns)
    return sheet.png()


def class_masks(
    labels: NDArray[np.uint8],
    classes: ClassTable,
    *,
    title: str = "One mask per cluster",
    subtitle: str = "",
) -> bytes:
    """Return every class by itself: its pixels in colour, others pale, no data grey.

    Args:
        labels: (y, x) uint8; 0 = no data, 1..254 class.
        classes: Names and colours of the label values.
        title: Heading.
        subtitle: Second line.
    """
    table = complete_table(classes, labels)
    if not labels.any() or not table:
        return nothing_here(title, "no pixel of this area is labelled")
    probe, whole = Sheet(1, 1), _SHEET_WIDTH - 2 * MARGIN + GAP
    names = max(probe.text_width(name, SMALL_SIZE, bold=True) for name, _ in table.values())
    heading = names + 8 + probe.text_width("100.0%", SMALL_SIZE)
    rows = 1 if len(table) <= 4 else 2 if len(table) <= 12 else -(-len(table) // 8)
    columns = min(-(-len(table) // rows), max(whole // (heading + GAP), 2))
    rows = -(-len(table) // columns)
    columns = -(-len(table) // rows)
    room = min(
        whole // columns - GAP,
        220,
        int((_MASK_PIXELS / len(table)) ** 0.5),
    )
    shape = display_shape((labels.shape[0], labels.shape[1]), room, room)
    small = resample_labels(labels, shape)
    step_x = max(shape[1], min(heading, whole // columns - GAP)) + GAP
    step_y = shape[0] + LABEL_HEIGHT + GAP
    top = Sheet.top(title, subtitle)
    sheet = Sheet(
        max(2 * MARGIN + columns * step_x - GAP, 300), top + rows * step_y - GAP + MARGIN,
        title, subtitle,
    )  # fmt: skip
    labelled = np.count_nonzero(labels)
    for index, (value, (name, colour)) in enumerate(table.items()):
        x, y = MARGIN + index % columns * step_x, top + index // columns * step_y
        share = f"{np.count_nonzero(labels == value) / labelled:.1%}"
        sheet.text(
            x, y, name, size=SMALL_SIZE, bold=True,
            room=step_x - GAP - sheet.text_width(share, SMALL_SIZE) - 8,
        )  # fmt: skip
        sheet.text(x + step_x - GAP, y, share, size=SMALL_SIZE, colour=MUTED, align="right")
        painted = np.full((*shape, 3), rgb_of(UNLABELLED), np.uint8)
        painted[small == 0] = rgb_of(NO_DATA)
        painted[small == value] = rgb_of(colour)
        sheet.paint(x, y + LABEL_HEIGHT, painted)
        sheet.frame(x, y + LABEL_HEIGHT, shape[1], shape[0])
    return sheet.png()


def rebuild(labels: NDArray[np.uint8], centres: Array) -> NDArray[np.float32]:
    """Return the image whose every pixel holds the centre of its cluster, (band, y, x) float32.

    Args:
        labels: (y, x) uint8; 0 and values without a centre become NaN.
        centres: (cluster, band); row 0 is the centre of label 1.
    """
    lookup = np.full((256, centres.shape[1]), np.nan, np.float32)
    lookup[1 : len(centres) + 1] = centres
    rebuilt: NDArray[np.float32] = np.moveaxis(lookup[labels], -1, 0)
    return rebuilt


def rebuilt_image(
    data: Array,
    labels: NDArray[np.uint8],
    centres: Array,
    valid: Mask | None = None,
    *,
    title: str = "Rebuilt from cluster centres",
    subtitle: str = "",
    name: str = "",
) -> bytes:
    """Return the image beside the one rebuilt from its clusters' centres, stretched alike.

    Args:
        data: Red, green and blue (3, y, x), one band (1, y, x), or NDVI as (y, x) floats.
        labels: (y, x) uint8; 0 = no data.
        centres: (cluster, band) in the units and band order of ``data``; row 0 is label 1.
        valid: True = datum, (y, x) or (band, y, x).
        title: Heading.
        subtitle: Second line.
        name: What the photograph shows, such as its bands.

    Raises:
        GeoAssetsError: The centres have another number of bands than the data.
    """
    bands = as_bands(data)
    if centres.shape[1] != len(bands):
        raise GeoAssetsError(f"centres of {centres.shape[1]} bands for data of {len(bands)}")
    rebuilt = rebuild(labels, centres)
    both = validity(bands, valid) & validity(rebuilt)
    if not both.any():
        return nothing_here(title, "no pixel of this area is labelled")
    limits = percentile_limits(bands, valid)
    height, width = shape = _fitted(labels, _SIDE_REBUILT)
    photograph, known = _pictured(data, valid, shape, limits)
    # Shrunken labels, then their centres: a mean of centres would be a colour of no cluster.
    small = rebuild(resample_labels(labels, shape), centres)
    again, seen = _pictured(small[0] if data.ndim == 2 else small, None, shape, limits)
    top = Sheet.top(title, subtitle)
    sheet = Sheet(
        max(2 * (MARGIN + width) + GAP, 420), top + LABEL_HEIGHT + height + MARGIN,
        title, subtitle,
    )  # fmt: skip
    second = MARGIN + width + GAP
    sheet.text(MARGIN, top, name or _named(data), size=SMALL_SIZE, bold=True, room=width)
    sheet.photo(MARGIN, top + LABEL_HEIGHT, photograph, known)
    sheet.text(second, top, "cluster centres", size=SMALL_SIZE, bold=True)
    sheet.photo(second, top + LABEL_HEIGHT, again, seen)
    if len(centres) <= _EXACT_CENTRES:
        sheet.paint(second, top + LABEL_HEIGHT, again, seen)
    for x in (MARGIN, second):
        sheet.frame(x, top + LABEL_HEIGHT, width, height)
    return sheet.png()


def _fitted(labels: NDArray[np.uint8], side: int = _SIDE) -> tuple[int, int]:
    rows, columns = labels.shape
    side = _SIDE_ENLARGED if 2 * max(rows, columns) <= _SIDE_ENLARGED else side
    return display_shape((rows, columns), side, side)


def _is_ndvi(data: Array) -> bool:
    return data.ndim == 2 and np.issubdtype(data.dtype, np.floating)


def _named(data: Array) -> str:
    return "NDVI" if _is_ndvi(data) else "image"


def _pictured(
    data: Array,
    valid: Mask | None,
    shape: tuple[int, int],
    limits: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.uint8], Mask]:
    """Return a photograph of bands, or the NDVI map of a single (y, x) plane of floats."""
    if not _is_ndvi(data):
        return shown(data, valid, shape, limits=limits)
    known = validity(data[np.newaxis], valid)
    # No data is painted already, in the grey of maps rather than the checker of photographs.
    return shown_ndvi(np.where(known, data, np.nan), shape), np.ones(shape, bool)


def _shares(labels: NDArray[np.uint8], classes: ClassTable) -> list[LegendItem]:
    counts = np.bincount(labels.ravel(), minlength=256)
    labelled = max(int(counts[1:255].sum()), 1)
    items = [
        LegendItem(f"{name} · {counts[value] / labelled:.1%}", colour)
        for value, (name, colour) in complete_table(classes, labels).items()
    ][:_MAX_LEGEND]
    if counts[255]:
        items.append(LegendItem("other split (ignored)", IGNORED))
    if counts[0]:
        items.append(LegendItem("no data", NO_DATA))
    return items
