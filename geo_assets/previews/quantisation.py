"""A picture in few colours: which ones, and which of them each pixel gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geo_assets.previews.raster import Mask

_SAMPLE = 4000


@dataclass(frozen=True, eq=False)
class Colours:
    """The different colours of some pixels.

    Attributes:
        values: (colour,) int32, 0xRRGGBB, rising.
        counts: (colour,) how many pixels have it.
        places: (pixel,) which of them a pixel has.
    """

    values: NDArray[np.int32]
    counts: NDArray[np.intp]
    places: NDArray[np.intp]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> Self:
        """Return the colours of pixels (pixel, 3)."""
        # By hashing: numpy would sort a million pixels for the few colours of a drawing.
        places, values = pd.factorize(packed(pixels), sort=True)
        return cls(values, np.bincount(places, minlength=len(values)), places)

    @property
    def grey(self) -> bool:
        """Whether none of them has a hue."""
        red, green, blue = _unpacked(self.values).T
        return bool(((red == green) & (green == blue)).all())

    def frequent(self, count: int) -> NDArray[np.uint8]:
        """Return the commonest colours (colour, 3), at most ``count``."""
        order = np.argsort(-self.counts, kind="stable")[:count]
        return _unpacked(np.sort(self.values[order]))

    def typical(self, count: int) -> NDArray[np.uint8]:
        """Return at most ``count`` colours (colour, 3) that lie near all of them, by K-Means."""
        if self.values.size <= count:
            return _unpacked(self.values)
        from scipy.cluster.vq import kmeans2

        # Colours are drawn by the root of their frequency: a small lake keeps its blue beside a
        # large forest, where a plain K-Means would spend every colour on the forest.
        cells, inverse = np.unique(self.values >> 3 & 0x1F1F1F, return_inverse=True)
        often = 1 / np.sqrt(np.bincount(inverse, self.counts, cells.size))
        weight = often[inverse] * self.counts
        rng = np.random.default_rng(0)
        chosen = rng.choice(self.values.size, _SAMPLE, p=weight / weight.sum())
        # A sample may hold fewer different colours than wanted; empty clusters keep their start.
        centres, _ = kmeans2(
            _unpacked(self.values[chosen]).astype(np.float64),
            count,
            iter=8,
            minit="++",
            missing="warn",
            rng=np.random.default_rng(0),
        )
        return np.unique(np.clip(np.rint(centres), 0, 255).astype(np.uint8), axis=0)

    def nearest(self, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return for each pixel which colour of a palette (at most 256, 3) is the nearest."""
        from scipy.spatial import cKDTree

        tree = cKDTree(palette.astype(np.float64))
        chosen = tree.query(_unpacked(self.values).astype(np.float64))[1]
        return np.asarray(chosen, np.uint8)[self.places]


def packed(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return colours (…, 3) as 0xRRGGBB."""
    wide = pixels.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _unpacked(values: NDArray[np.int32]) -> NDArray[np.uint8]:
    return np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1).astype(np.uint8)


@kernel
def lengthen_runs(
    indices: NDArray[np.uint8],
    pixels: NDArray[np.uint8],
    within: Mask,
    palette: NDArray[np.uint8],
    tolerance: int,
) -> None:
    """Let pixels repeat what their left neighbour has, in place, where the eye allows it.

    Runs are what PNG compresses.

    Args:
        indices: (y, x), colours of the palette.
        pixels: (y, x, 3), the colours wanted.
        within: (y, x), True for the pixels that may change.
        palette: (colour, 3).
        tolerance: The extra error (RGB units) that a repetition may cost.
    """
    height, width = indices.shape
    for row in range(height):
        for column in range(1, width):
            if not (within[row, column] and within[row, column - 1]):
                continue
            left, own = indices[row, column - 1], indices[row, column]
            error = np.int64(0)
            for channel in range(3):
                wanted = np.int64(pixels[row, column, channel])
                error += (np.int64(palette[left, channel]) - wanted) ** 2
                error -= (np.int64(palette[own, channel]) - wanted) ** 2
            if error < tolerance**2:
                indices[row, column] = left
