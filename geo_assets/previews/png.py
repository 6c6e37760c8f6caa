"""PNG bytes of bounded size: a palette of 256 for the drawing and what photographs in it need.

The drawing (text, lines, class colours) keeps its colours; photographs share a palette found by
K-Means and are simplified step by step until the picture fits.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from geo_assets.errors import GeoAssetsError

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
_SAMPLE = 4000
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
        if np.unique(_packed(pixels)).size <= 256:
            exact = _encode(pixels, photographs, *_LADDER[0])
            if len(exact) <= max_bytes:
                return exact
        photographs = ~photographs
    best = _best(pixels, photographs, max_bytes)
    if best is not None:
        return best
    # A drawing that is itself too busy (a map of speckled labels, many crossing lines) is
    # simplified too, all but its commonest colours: a preview is no reason for a run to fail.
    for kept in _KEPT:
        common = _packed(_frequent(pixels.reshape(-1, 3), kept))
        best = _best(pixels, photographs | ~np.isin(_packed(pixels), common), max_bytes)
        if best is not None:
            return best
    height, width = pixels.shape[:2]
    raise GeoAssetsError(
        f"a picture of {width} x {height} pixels cannot be stored in {max_bytes} bytes"
    )


def _best(pixels: NDArray[np.uint8], photographs: Mask, max_bytes: int) -> bytes | None:
    """Return the best encoding that fits: sizes fall along the ladder, so bisection finds it."""
    tones = pixels[photographs]
    grey = bool((tones == tones[:, :1]).all())
    ladder = (_GREY_LADDER if grey else _LADDER)[: None if photographs.any() else 1]
    best = None
    first, last = 0, len(ladder) - 1
    while first <= last:
        rung = (first + last) // 2
        encoded = _encode(pixels, photographs, *ladder[rung])
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


def _encode(
    pixels: NDArray[np.uint8], photographs: Mask, colours: int, tolerance: int, cell: int
) -> bytes:
    height, width = pixels.shape[:2]
    indices = np.zeros((height, width), np.intp)
    palette = np.zeros((0, 3), np.uint8)
    if photographs.any():
        palette = _photo_palette(pixels[photographs], colours)
        coarse = pixels if cell == 1 else _coarsened(pixels, photographs, cell)
        indices = _nearest_runs(coarse, photographs, palette, tolerance)
    drawing = ~photographs
    if drawing.any():
        ink = _frequent(pixels[drawing], 256 - len(palette))
        indices[drawing] = len(palette) + _nearest(pixels[drawing], ink)
        palette = np.concatenate([palette, ink])
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _packed(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    packed: NDArray[np.int64] = pixels.astype(np.int64) @ np.array([65536, 256, 1])
    return packed


def _unpacked(packed: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def _frequent(pixels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    values, counts = np.unique(_packed(pixels), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:count]
    return _unpacked(np.sort(values[order]))


def _photo_palette(pixels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    values, counts = np.unique(_packed(pixels), return_counts=True)
    if values.size <= count:
        return _unpacked(values)
    from scipy.cluster.vq import kmeans2

    # Colours are drawn by the root of their frequency: a small lake keeps its blue beside a large
    # forest, where a plain K-Means would spend every colour on the forest.
    cells, inverse = np.unique(values >> 3 & 0x1F1F1F, return_inverse=True)
    weight = 1 / np.sqrt(np.bincount(inverse, counts, cells.size))[inverse] * counts
    chosen = np.random.default_rng(0).choice(values.size, _SAMPLE, p=weight / weight.sum())
    sample = _unpacked(values[chosen]).astype(np.float64)
    # A sample may hold fewer different colours than wanted; empty clusters keep their start.
    centres, _ = kmeans2(
        sample, count, iter=8, minit="++", missing="warn", rng=np.random.default_rng(0)
    )
    return np.unique(np.clip(np.rint(centres), 0, 255).astype(np.uint8), axis=0)


def _nearest(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.intp]:
    from scipy.spatial import cKDTree

    values, inverse = np.unique(_packed(pixels), return_inverse=True)
    index = cKDTree(palette.astype(np.float64)).query(_unpacked(values).astype(np.float64))[1]
    return np.asarray(index, np.intp)[inverse]


def _nearest_runs(
    pixels: NDArray[np.uint8], photographs: Mask, palette: NDArray[np.uint8], tolerance: int
) -> NDArray[np.intp]:
    """Return palette indices; a pixel repeats its left neighbour's where the eye allows it.

    Runs are what PNG compresses; the tolerance is the extra error (RGB units) a run may cost.
    """
    height, width = pixels.shape[:2]
    indices = _nearest(pixels.reshape(-1, 3), palette).reshape(height, width)
    if tolerance:
        wanted = pixels.astype(np.float32)
        offered = palette.astype(np.float32)
        for column in range(1, width):
            left = indices[:, column - 1]
            run = ((offered[left] - wanted[:, column]) ** 2).sum(axis=1)
            own = ((offered[indices[:, column]] - wanted[:, column]) ** 2).sum(axis=1)
            repeat = (run < own + tolerance**2) & photographs[:, column - 1]
            indices[:, column] = np.where(repeat, left, indices[:, column])
    return indices


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
