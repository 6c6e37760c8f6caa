"""The colours of the house: ink and paper, classes, NDVI, statuses, no data. Numpy only.

Every colour here is used in more than one picture; what it means never changes between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rgb = tuple[int, int, int]
ClassTable = Mapping[int, tuple[str, str]]
"""Label value -> (class name, ``#rrggbb``)."""

PAPER: Final = "#fbfbf9"
INK: Final = "#1f2933"
MUTED: Final = "#66707c"
LINE: Final = "#d3d8de"
ACCENT: Final = "#2a6f97"

NO_DATA: Final = "#c6cad1"
"""Outside the area, under cloud, never seen: a grey that no class and no NDVI value has."""
CHECKER: Final = ("#d9dce1", "#c6cad1")
"""No data behind photographs, which may hold any grey themselves."""
UNLABELLED: Final = "#ecedf0"
"""Label value 0 where it means background rather than no data."""
IGNORED: Final = "#4a515b"
"""Label value 255 on a label map: polygons of another split."""
IGNORED_OUTLINE: Final = "#f2f3f5"
"""The same as an outline over a photograph."""
OUTLINE_GROUND: Final = "#39443e"
"""What stands for a photograph in the legend of outlines."""

STATUS_COLOURS: Final[Mapping[str, str]] = {
    "ok": "#5b8c2a",
    "no_imagery": "#9aa3ad",
    "failed": "#d55e00",
}
STATUS_NAMES: Final[Mapping[str, str]] = {
    "ok": "ok",
    "no_imagery": "no imagery",
    "failed": "failed",
}

# The first seven are Okabe and Ito's (https://jfly.uni-koeln.de/color/); the others were chosen one
# by one to lie farthest (CIELAB, as seen with normal, protanope and deuteranope vision after
# Machado, Oliveira and Fernandes 2009) from those before, from paper, from ink and from no data.
_QUALITATIVE: Final = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#6a3d9a",
    "#7a4a21", "#87f078", "#96a55a", "#5a87ff", "#a50069", "#ffb4a5", "#963c4b", "#0f4b2d",
    "#f05a78", "#785a87", "#1ee1ff", "#c3963c", "#87f0c3", "#87784b", "#5aa5ff", "#e178d2",
    "#a5d24b", "#004bb4", "#b4692d", "#00d296", "#003c78", "#c3e196", "#691e4b", "#695a00",
)  # fmt: skip
MAX_CLASSES: Final = len(_QUALITATIVE)

NDVI_RANGE: Final = (-0.2, 1.0)
NDVI_LEVELS: Final = 40
"""Steps of the NDVI map: 0.03 each, finer than the eye tells apart and cheap in a PNG."""
_NDVI_STOPS: Final = (-0.2, 0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
_NDVI_STOP_COLOURS: Final = (
    "#5b3a1e", "#96673a", "#cfa568", "#f3e08e", "#c5d86d", "#7fb84e", "#31883f", "#0b4a2a",
)  # fmt: skip


def rgb_of(colour: str) -> Rgb:
    """Return the red, green and blue (0..255) of ``#rrggbb``.

    Raises:
        GeoAssetsError: The text is no such colour.
    """
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise GeoAssetsError(f"colour {colour!r} is not of the form #rrggbb")
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def class_colours(count: int) -> list[str]:
    """Return ``count`` colours that readers with colour-blindness tell apart best, fixed order.

    Beyond 32 the colours repeat: no palette keeps more classes apart.
    """
    return [_QUALITATIVE[index % MAX_CLASSES] for index in range(count)]


def ordered_colours(count: int) -> list[str]:
    """Return ``count`` colours from bare brown to dense green, for classes ordered by NDVI."""
    positions = np.linspace(0.0, 0.95, count) if count > 1 else np.array([0.65])
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in _ndvi_ramp(positions)]


def class_table(names: Sequence[str], *, ordered: bool = False) -> dict[int, tuple[str, str]]:
    """Return a class table 1..n of these names, coloured by the house palette.

    Args:
        names: Class names, in order of label value, beginning with 1.
        ordered: The classes rise with NDVI: colour them brown to green.
    """
    colours = ordered_colours(len(names)) if ordered else class_colours(len(names))
    return {
        value: (name, colour)
        for value, (name, colour) in enumerate(zip(names, colours, strict=True), start=1)
    }


def complete_table(
    classes: ClassTable, labels: NDArray[np.integer] | None = None
) -> dict[int, tuple[str, str]]:
    """Return the table in order of value, with a made-up entry for every value it lacks.

    A value without a name is drawn and named by its number: a preview shows what is there rather
    than failing a run. 0 and 255 are not classes (no data or background, ignored).
    """
    table = {int(value): entry for value, entry in classes.items()}
    if labels is not None:
        for value in np.unique(labels).tolist():
            if value not in (0, 255) and value not in table:
                table[value] = (f"class {value}", _QUALITATIVE[(value - 1) % MAX_CLASSES])
    return dict(sorted(table.items()))


def paint_labels(
    labels: NDArray[np.integer],
    classes: ClassTable,
    *,
    zero: str = NO_DATA,
    ignored: str = IGNORED,
) -> NDArray[np.uint8]:
    """Return label values (y, x) as colours (y, x, 3); 0 becomes ``zero``, 255 ``ignored``."""
    lookup = np.empty((256, 3), np.uint8)
    lookup[:] = rgb_of(NO_DATA)
    lookup[255] = rgb_of(ignored)
    for value, (_, colour) in complete_table(classes, labels).items():
        lookup[value] = rgb_of(colour)
    lookup[0] = rgb_of(zero)
    painted: NDArray[np.uint8] = lookup[labels]
    return painted


def paint_ndvi(ndvi: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return NDVI (any shape, NaN = no data) as colours (..., 3), brown over yellow to green.

    The range is -0.2..1 in 40 steps, values outside take the colour of its end.
    """
    low, high = NDVI_RANGE
    known = np.isfinite(ndvi)
    share = np.clip((np.where(known, ndvi, low) - low) / (high - low), 0.0, 1.0)
    level = np.minimum((share * NDVI_LEVELS).astype(np.intp), NDVI_LEVELS - 1)
    centres = low + (np.arange(NDVI_LEVELS) + 0.5) / NDVI_LEVELS * (high - low)
    painted: NDArray[np.uint8] = _ndvi_ramp(centres)[level]
    painted[~known] = rgb_of(NO_DATA)
    return painted


def _ndvi_ramp(ndvi: NDArray[np.floating]) -> NDArray[np.uint8]:
    stops = np.array([rgb_of(colour) for colour in _NDVI_STOP_COLOURS], np.float64)
    channels = [np.interp(ndvi, _NDVI_STOPS, stops[:, channel]) for channel in range(3)]
    ramp: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return ramp
