"""An image of an area while it is being filled, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.compositing import fill_value
from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from geo_assets.sources.windows import FailedWindow, Window


class Canvas:
    """Pixels, validity and failed windows of an area.

    Its dtype is that of the first pixels that come: only a read tells what a source has.
    """

    def __init__(self, shape: tuple[int, int], bands: int, dtype: DTypeLike) -> None:
        """Begin with nothing.

        Args:
            shape: Rows and columns.
            bands: Number of bands.
            dtype: dtype if no pixels ever come.
        """
        self.valid = np.zeros(shape, bool)
        self.failed: list[FailedWindow] = []
        self._bands = bands
        self._empty_dtype = np.dtype(dtype)
        self._data: NDArray[Any] | None = None

    def put(self, block: Window, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Lay pixels (band, y, x) and their validity (y, x) on a block.

        Raises:
            SourceError: If they are of another dtype than those before.
        """
        if self._data is None:
            self._data = self._blank(pixels.dtype)
        if self._data.dtype != pixels.dtype:
            raise SourceError(
                f"scenes are {self._data.dtype} in one part of the area and {pixels.dtype} in "
                "another; ask for composite.dtype: float32"
            )
        self._data[:, *block.slices] = pixels
        self.valid[block.slices] = valid

    def pixels(self) -> NDArray[Any]:
        """Return (band, y, x) as far as they are filled, the fill of their dtype elsewhere."""
        return self._blank(self._empty_dtype) if self._data is None else self._data

    def _blank(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.full((self._bands, *self.valid.shape), fill_value(dtype), dtype)
