"""The strip at the top of the README: from an image to temporal labels, beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from geo_assets.previews.composites import draw_outlines
from geo_assets.previews.cubes import colour_bar, shown_ndvi
from geo_assets.previews.palette import (
    MUTED,
    STATUS_COLOURS,
    ClassTable,
    class_colours,
    complete_table,
    paint_labels,
)
from geo_assets.previews.raster import Array, Mask, fitted_shape, resample_labels
from geo_assets.previews.rgb import percentile_limits, shown
from geo_assets.previews.style import MARGIN, TEXT_SIZE, Sheet, legend_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STRIP_BYTES: Final = 400_000
_WIDTH: Final = 1600
_PANEL: Final = 288
_ARROW: Final = 32
_CAPTION: Final = 46
_TILES: Final = 3


@dataclass(frozen=True)
class StripParts:
    """What the strip shows; all rasters but the chips lie on one grid."""

    image: Array
    """Red, green and blue (3, y, x)."""
    valid: Mask | None
    """True = datum of the image, (y, x)."""
    labels: NDArray[np.uint8]
    """Label band (y, x): 0 unlabelled, 255 ignored."""
    classes: ClassTable
    """Names and colours of the label band."""
    chips: Sequence[Array]
    """Up to nine chips, red, green and blue (3, y, x)."""
    ndvi: NDArray[np.floating]
    """(y, x), NaN = no data."""
    temporal: NDArray[np.uint8]
    """Temporal labels (y, x), 0 = no data."""
    truth: NDArray[np.uint8]
    """True land cover (y, x), 0 = unknown."""
    truth_classes: ClassTable
    """Names and colours of the truth."""


def readme_strip(parts: StripParts, notes: Sequence[str] = ("", "", "", "", "")) -> bytes:
    """Return the strip of five pictures, 1600 pixels wide, each with a caption.

    Args:
        parts: The rasters.
        notes: The second line of each caption.
    """
    height, width = fitted_shape(parts.ndvi.shape, _PANEL, _PANEL)
    legend = legend_of(complete_table(parts.truth_classes, parts.truth))
    probe = Sheet(_WIDTH, 1)
    legend_width = 2 * _PANEL + _ARROW
    top = MARGIN + _CAPTION
    foot = top + _PANEL + 14
    sheet = Sheet(_WIDTH, foot + max(probe.legend_height(legend, legend_width), 30) + 10)
    captions = ("Image and labels", "Chips", "NDVI", "Temporal labels", "True land cover")
    lefts = [MARGIN + index * (_PANEL + _ARROW) for index in range(5)]
    for index, (x, caption) in enumerate(zip(lefts, captions, strict=True)):
        sheet.text(x, MARGIN, caption, size=TEXT_SIZE + 3, bold=True, room=_PANEL)
        note = notes[index] if index < len(notes) else ""
        sheet.text(x, MARGIN + 22, note, colour=MUTED, room=_PANEL)
        if index in (1, 2, 3):
            _arrow(sheet, x - _ARROW / 2, top + _PANEL / 2)
    sheet.text(lefts[4] - _ARROW / 2, top + _PANEL / 2 - 10, "≈", size=20, align="center")

    inset_x, inset_y = (_PANEL - width) // 2, (_PANEL - height) // 2
    places = [(x + inset_x, top + inset_y) for x in lefts]
    photograph, known = shown(parts.image, parts.valid, (height, width))
    sheet.photo(*places[0], photograph, known)
    draw_outlines(sheet, places[0], parts.labels, parts.classes, (height, width))
    _chips(sheet, (lefts[1], top), parts)
    sheet.photo(*places[2], shown_ndvi(parts.ndvi, (height, width)))
    matched = match_classes(parts.temporal, parts.truth, parts.truth_classes)
    for place, raster, table in (
        (places[3], parts.temporal, matched),
        (places[4], parts.truth, parts.truth_classes),
    ):
        sheet.paint(*place, paint_labels(resample_labels(raster, (height, width)), table))
    for index in (0, 2, 3, 4):
        sheet.frame(*places[index], width, height)
    colour_bar(sheet, lefts[2] + 8, foot, _PANEL - 60)
    sheet.legend(lefts[3], foot, legend, legend_width)
    return sheet.png(STRIP_BYTES)


def match_classes(
    labels: NDArray[np.uint8], truth: NDArray[np.uint8], truth_classes: ClassTable
) -> dict[int, tuple[str, str]]:
    """Return a table for clusters in which each takes the colour of the class it covers best.

    The pairs are the one-to-one assignment with the most pixels in common (Hungarian method);
    clusters that are left without a class of their own take other colours.
    """
    from scipy.optimize import linear_sum_assignment

    table = complete_table(truth_classes, truth)
    clusters = [value for value in np.unique(labels).tolist() if value not in (0, 255)]
    values = list(table)
    both = np.array(
        [[np.count_nonzero((labels == one) & (truth == two)) for two in values] for one in clusters]
    ).reshape(len(clusters), len(values))
    rows, columns = linear_sum_assignment(both, maximize=True)
    matched = {
        clusters[row]: table[values[column]]
        for row, column in zip(rows, columns, strict=True)
        if both[row, column] > 0
    }
    used = {colour for _, colour in table.values()}
    spare = iter([colour for colour in class_colours(32) if colour not in used] * 8)
    for cluster in clusters:
        if cluster not in matched:
            matched[cluster] = (f"cluster {cluster}", next(spare))
    return dict(sorted(matched.items()))


def _chips(sheet: Sheet, place: tuple[int, int], parts: StripParts) -> None:
    limits = percentile_limits(parts.image, parts.valid)
    room = (_PANEL - (_TILES - 1) * 6) // _TILES
    for index, chip in enumerate(parts.chips[: _TILES**2]):
        height, width = fitted_shape(chip.shape[-2:], room, room)
        x = place[0] + index % _TILES * (room + 6) + (room - width) // 2
        y = place[1] + index // _TILES * (room + 6) + (room - height) // 2
        photograph, known = shown(chip, None, (height, width), limits=limits)
        sheet.photo(x, y, photograph, known)
        sheet.frame(x, y, width, height, colour=STATUS_COLOURS["ok"], line=2)


def _arrow(sheet: Sheet, x: float, y: float) -> None:
    sheet.text(x, y - 10, "→", size=20, align="center")
