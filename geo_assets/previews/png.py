"""PNG bytes of bounded size: a palette of 256 for the drawing and what photographs in it need.

The drawing (text, lines, class colours) keeps its colours; photographs share a palette found by
K-Means and are simplified step by step until the picture fits.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.quantisation import Colours, lengthen_runs, packed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from geo_assets.previews.raster import Mask

MAX_BYTES = 48_000
"""Bound of a picture in asset metadata: it lies in Dagster's event log with every run."""

# (colours of photographs, run tolerance in RGB units, side in pixels of a photograph's cell),
# in falling order of quality.
_LADDER = (
    (128, 0, 1), (64, 6, 1), (48, 8, 1), (40, 10, 1), (32, 12, 1), (24, 15, 1), (24, 22, 1),
    (16, 30, 1), (32, 12, 2), (32, 20, 3), (24, 24, 4), (16, 24, 8), (8, 48, 16),
)  # fmt: skip
# Without colour the eye sees runs before it misses tones.
_GREY_LADDER = (
    (64, 0, 1), (32, 0, 1), (24, 0, 1), (16, 0, 1), (12, 4, 1), (10, 8, 1),
    (24, 0, 2), (16, 0, 2), (16, 0, 3), (12, 0, 4), (8, 0, 8), (6, 24, 16),
)  # fmt: skip
_KEPT = (48, 2, 0)


def to_png(
    picture: Figure | NDArray[np.uint8],
    max_bytes: int = MAX_BYTES,
    *,
    photographs: Mask | None = None,
) -> bytes:
    """Return a picture as a palette PNG of at most ``max_bytes``, always the same bytes.

    Args:
        picture: A matplotlib figure, or uint8 (y, x, 3).
        max_bytes: The bound.
        photographs: (y, x), True where the picture holds continuous tones, which may be
            simplified; None = everywhere, unless the picture is small enough as it is.

    Raises:
        GeoAssetsError: The picture is no uint8 (y, x, 3) or cannot be made that small.
    """
    pixels = picture if isinstance(picture, np.ndarray) else _drawn(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise GeoAssetsError(
            f"picture of shape {pixels.shape} and type {pixels.dtype}: uint8 (y, x, 3) is allowed"
        )
    if photographs is None:
        photographs = np.zeros(pixels.shape[:2], bool)
        drawing = _Picture(pixels, photographs)
        if drawing.ink.values.size <= 256:
            exact = _encode(drawing, *_LADDER[0])
            if len(exact) <= max_bytes:
                return exact
        photographs = ~photographs
    best = _best(pixels, photographs, max_bytes)
    if best is not None:
        return best
    # A drawing that is itself too busy (a map of speckled labels, many crossing lines) is
    # simplified too, all but its commonest colours: a preview is no reason for a run to fail.
    colours = Colours.of(pixels.reshape(-1, 3))
    for kept in _KEPT:
        common = packed(colours.frequent(kept))
        best = _best(pixels, photographs | ~np.isin(packed(pixels), common), max_bytes)
        if best is not None:
            return best
    height, width = pixels.shape[:2]
    raise GeoAssetsError(
        f"a picture of {width} x {height} pixels cannot be stored in {max_bytes} bytes"
    )


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture (y, x, 3), where it holds photographs (y, x), and the colours of both parts."""

    pixels: NDArray[np.uint8]
    photographs: Mask

    @cached_property
    def tones(self) -> Colours:
        return Colours.of(self.pixels[self.photographs])

    @cached_property
    def ink(self) -> Colours:
        return Colours.of(self.pixels[~self.photographs])


def _best(pixels: NDArray[np.uint8], photographs: Mask, max_bytes: int) -> bytes | None:
    """Return the best encoding that fits: sizes fall along the ladder, so bisection finds it."""
    picture = _Picture(pixels, photographs)
    ladder = (_GREY_LADDER if picture.tones.grey else _LADDER)[: None if photographs.any() else 1]
    best = None
    first, last = 0, len(ladder) - 1
    while first <= last:
        rung = (first + last) // 2
        encoded = _encode(picture, *ladder[rung])
        if len(encoded) <= max_bytes:
            best, last = encoded, rung - 1
        else:
            first = rung + 1
    return best


def markdown_image(png: bytes, alt: str) -> str:
    """Return Markdown that shows the PNG inline (for ``dagster.MetadataValue.md``)."""
    safe = alt.replace("[", "(").replace("]", ")").replace("\n", " ")
    return f"![{safe}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _drawn(figure: Figure) -> NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib leaves Agg untyped
    drawn = np.asarray(canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]  # as above
    return drawn[..., :3].copy()


def _encode(picture: _Picture, colours: int, tolerance: int, cell: int) -> bytes:
    photographs, drawing = picture.photographs, ~picture.photographs
    indices = np.zeros(photographs.shape, np.uint8)
    palette = np.zeros((0, 3), np.uint8)
    if photographs.any():
        palette = picture.tones.typical(colours)
        pixels, tones = picture.pixels, picture.tones
        if cell > 1:
            pixels = _coarsened(pixels, photographs, cell)
            tones = Colours.of(pixels[photographs])
        indices[photographs] = tones.nearest(palette)
        if tolerance:
            lengthen_runs(indices, pixels, photographs, palette, tolerance)
    if drawing.any():
        ink = picture.ink.frequent(256 - len(palette))
        indices[drawing] = len(palette) + picture.ink.nearest(ink)
        palette = np.concatenate([palette, ink])
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    # Level 9 takes four times as long for 3 %.
    image.save(buffer, "PNG", compress_level=7)
    return buffer.getvalue()


def _coarsened(pixels: NDArray[np.uint8], photographs: Mask, cell: int) -> NDArray[np.uint8]:
    """Return the pixels with photographs in cells of ``cell`` pixels a side, text untouched."""
    height, width = photographs.shape
    rows, columns = np.indices((height, width))
    block = (rows // cell) * (width // cell + 1) + columns // cell
    block = block[photographs]
    count = np.maximum(np.bincount(block), 1)
    out = pixels.copy()
    channels = [
        np.rint(np.bincount(block, pixels[..., channel][photographs]) / count)[block]
        for channel in range(3)
    ]
    out[photographs] = np.stack(channels, axis=-1).astype(np.uint8)
    return out
