"""An image of an area while it is being made: blocks that come one by one, with the label band."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.compositing import fill_value
from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import DTypeLike, NDArray

    from geo_assets.products.windows import Window
    from geo_assets.storage.rasters.cog_blocks import Block

Part = tuple["Window", "NDArray[Any] | None", "NDArray[np.bool_] | None"]
"""A window, its pixels (band, y, x) and their validity (y, x); None where nothing could be read."""


class Canvas:
    """Gives the blocks of an image in the dtype of the first pixels that come.

    Only a read tells what a source has; until then blocks without pixels wait.

    Attributes:
        dtype: dtype of all bands.
        valid_pixels: Pixels with a datum among the blocks given so far.
    """

    def __init__(
        self, parts: Iterable[Part], bands: int, label: NDArray[np.uint8], dtype: DTypeLike
    ) -> None:
        """Take parts until one has pixels.

        Args:
            parts: They fill the image and do not overlap.
            bands: Number of image bands.
            label: (y, x), the band that follows them.
            dtype: dtype if no pixels ever come.

        Raises:
            SourceError: If the pixels are of a dtype that cannot hold all labels.
        """
        self.dtype = np.dtype(dtype)
        self.valid_pixels = 0
        self._bands = bands
        self._label = label
        waiting: list[Part] = []
        rest = iter(parts)
        for part in rest:
            waiting.append(part)
            if part[1] is not None:
                self.dtype = part[1].dtype
                break
        if not np.can_cast(label.dtype, self.dtype):
            raise SourceError(
                f"scenes are {self.dtype}, which does not hold the labels of the band beside them, "
                "up to 255; ask for composite.dtype: float32"
            )
        self._parts = chain(waiting, rest)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks, once: image bands and the label band, and what is valid.

        Raises:
            SourceError: If the pixels of one part are of another dtype than those before.
        """
        for window, pixels, valid in self._parts:
            shape = (window.height, window.width)
            data = np.empty((self._bands + 1, *shape), self.dtype)
            data[-1] = self._label[window.slices]
            if pixels is None or valid is None:
                data[:-1] = fill_value(self.dtype)
                yield *window.slices, data, np.zeros(shape, bool)
                continue
            if pixels.dtype != self.dtype:
                raise dtypes_differ(self.dtype, pixels.dtype)
            data[:-1] = pixels
            self.valid_pixels += int(np.count_nonzero(valid))
            yield *window.slices, data, valid


def dtypes_differ(one: np.dtype[Any], other: np.dtype[Any]) -> SourceError:
    """Return the error of an image whose scenes have pixels of two dtypes."""
    return SourceError(
        f"some scenes are {one} and others {other}; ask for composite.dtype: float32"
    )
