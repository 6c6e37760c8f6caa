"""Blocks of the COGs that this package publishes, unpacked without GDAL's block cache and copies.

That halves the time. Of the many forms of a GeoTIFF it knows just the one that ``cog_blocks.py``
gives integers: tiles in which the bands of a pixel lie side by side, Zstandard, differences along
the row (predictor 2). What is of another form is left to GDAL.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import Zstd  # type: ignore[import-untyped]  # ships no types

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    import rasterio
    from numpy.typing import NDArray

_STRUCTURE = {"COMPRESSION": "ZSTD", "PREDICTOR": "2"}
_LITTLE_ENDIAN = b"II"
_ZSTD = Zstd()


class CogTiles:
    """The blocks of one file; ``close`` it. Many threads may read at a time.

    Args:
        path: The file.
        dataset: The same, opened by GDAL.

    Attributes:
        known: Whether the file is of the form that can be read here.
    """

    def __init__(self, path: Path, dataset: rasterio.DatasetReader) -> None:
        self._path = path
        self._shape = (*dataset.block_shapes[0], dataset.count)
        self._dtype = np.dtype(dataset.dtypes[0])
        self._file = os.open(path, os.O_RDONLY)
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        self.known = (
            structure.items() >= _STRUCTURE.items()
            and (structure.get("INTERLEAVE") == "PIXEL" or dataset.count == 1)
            and os.pread(self._file, 2, 0) == _LITTLE_ENDIAN
            and self._dtype.kind in "iu"
            and all(dtype == self._dtype for dtype in dataset.dtypes)
            and bool(dataset.profile["tiled"])
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def read(self, dataset: rasterio.DatasetReader, row: int, col: int) -> NDArray[Any] | None:
        """Return the whole block (band, y, x) at a row and column of blocks.

        Args:
            dataset: The file, opened by GDAL, which no other thread uses: it knows where blocks
                lie.
            row: Counted in blocks.
            col: The same.

        Returns:
            None where the file has no such block: all of its pixels are no-data.

        Raises:
            StorageError: The block is damaged.
        """
        place, length = (
            dataset.get_tag_item(f"{what}_{col}_{row}", "TIFF", bidx=1)
            for what in ("BLOCK_OFFSET", "BLOCK_SIZE")
        )
        if place is None or length is None:
            return None
        packed = os.pread(self._file, int(length), int(place))
        try:
            # Predictors work on the two's complement, in which sums wrap.
            differences = np.frombuffer(_ZSTD.decode(packed), self._dtype).reshape(self._shape)
        except (RuntimeError, ValueError) as error:
            raise StorageError(
                f"{self._path}: cannot be read as GeoTIFF: block {row}, {col}: {error}"
            ) from error
        by_band = differences.transpose(2, 0, 1)
        block = np.empty(by_band.shape, self._dtype)
        np.add.accumulate(by_band, axis=2, out=block)
        return block
