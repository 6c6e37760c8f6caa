"""Tiles of GeoTIFFs on a local disk, unpacked without GDAL's block cache and copies.

That halves the time. Of the many forms of a GeoTIFF it knows the one that archives and this package
give to integers: tiles, packed by Deflate or Zstandard, with or without differences along the row
(predictor 2). What is of another form, and whatever fails, is left to GDAL.
"""

from __future__ import annotations

import math
import os
import weakref
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from isal.igzip_lib import DECOMP_ZLIB, IsalError, decompress
from numcodecs import Zstd  # type: ignore[import-untyped]  # ships no types
from rasterio.enums import Interleaving

from geo_assets.core.kernels.tiles import lay_tile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from rasterio import DatasetReader
    from rasterio.windows import Window

_ZLIB_BITS = 15
"""Window of a zlib stream with header and checksum, as TIFF's Deflate has it."""
_ZSTD = Zstd()
_UNPACK: dict[str | None, Callable[[bytes, int], bytes]] = {
    "DEFLATE": lambda packed, size: decompress(packed, DECOMP_ZLIB, _ZLIB_BITS, size),
    "ZSTD": lambda packed, _: _ZSTD.decode(packed),
}
_LITTLE_ENDIAN = b"II"
_MOST_BYTES = 4


class TiffTiles:
    """The tiles of one open file, for one thread at a time; closed when the file is forgotten.

    Args:
        dataset: A GeoTIFF, opened by GDAL: it knows where tiles lie.
    """

    def __init__(self, dataset: DatasetReader) -> None:
        self._dataset = weakref.proxy(dataset)  # which keeps this
        self._dtype = np.dtype(dataset.dtypes[0])
        self._side = dataset.block_shapes[0]
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        self._unpack = _UNPACK.get(structure.get("COMPRESSION"))
        self._differences = structure.get("PREDICTOR") == "2"
        self._samples = dataset.count if dataset.interleaving == Interleaving.pixel else 1
        self._file = _open(dataset) if self._is_known(dataset, structure) else None

    @property
    def known(self) -> bool:
        """Whether the file is of a form that can be read here."""
        return self._file is not None

    def _is_known(self, dataset: DatasetReader, structure: dict[str, str]) -> bool:
        return (
            dataset.driver == "GTiff"
            and self._unpack is not None
            and structure.get("PREDICTOR", "1") in {"1", "2"}
            and "NBITS" not in dataset.tags(1, ns="IMAGE_STRUCTURE")
            and self._side[1] < dataset.width  # strips are as wide as the file
            and self._dtype.kind in "iu"
            and self._dtype.itemsize <= _MOST_BYTES
            and all(dtype == self._dtype for dtype in dataset.dtypes)
            and dataset.photometric is None  # no colours that GDAL converts
        )

    def read(self, indexes: Sequence[int], window: Window, out: NDArray[Any]) -> bool:
        """Write the pixels of a window (band, y, x) within the file.

        Args:
            indexes: Numbers of the bands, from 1.
            window: Whole pixels.
            out: (band, y, x) in the file's dtype.

        Returns:
            Whether it could be done. If not, a tile was never written or is damaged, or the file
            is of another form: GDAL has to be asked, and ``out`` may hold some of the pixels.
        """
        together = len(indexes) if self._samples > 1 else 1
        samples = (np.array(indexes) - 1) % self._samples
        for row, first_row, rows in _parts(int(window.row_off), out.shape[1], self._side[0]):
            for col, first_col, cols in _parts(int(window.col_off), out.shape[2], self._side[1]):
                for band in range(0, len(indexes), together):
                    tile = self._tile(row, col, indexes[band])
                    if tile is None:
                        return False
                    bands = slice(band, band + together)
                    part = out[bands, rows, cols]
                    lay_tile(tile, samples[bands], first_row, first_col, self._differences, part)
        return True

    def _tile(self, row: int, col: int, index: int) -> NDArray[Any] | None:
        """Unpack one tile (y, x, sample); None where ``read`` cannot."""
        if self._file is None or self._unpack is None:
            return None
        place, length = (
            self._dataset.get_tag_item(f"{what}_{col}_{row}", "TIFF", bidx=index)
            for what in ("BLOCK_OFFSET", "BLOCK_SIZE")
        )
        if place is None or length is None:
            return None
        shape = (*self._side, self._samples)
        try:
            packed = os.pread(self._file, int(length), int(place))
            values = self._unpack(packed, math.prod(shape) * self._dtype.itemsize)
            return np.frombuffer(values, self._dtype).reshape(shape)
        except (RuntimeError, ValueError, OSError, IsalError):  # type: ignore[misc]  # its stub says an instance
            return None


_TILES: WeakKeyDictionary[DatasetReader, TiffTiles] = WeakKeyDictionary()


def read_window(
    dataset: DatasetReader,
    indexes: Sequence[int],
    window: Window,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the pixels of a window (band, y, x) within a file, as ``DatasetReader.read`` does.

    Args:
        dataset: An open raster, which no other thread uses.
        indexes: Numbers of the bands, from 1.
        window: Whole pixels.
        out: Where they are written; None: a new array.

    Raises:
        RasterioIOError: The file is damaged.
    """
    tiles = _TILES.get(dataset)
    if tiles is None:
        tiles = _TILES[dataset] = TiffTiles(dataset)
    if tiles.known:
        if out is None:
            shape = (len(indexes), int(window.height), int(window.width))
            out = np.empty(shape, dataset.dtypes[0])
        if tiles.read(indexes, window, out):
            return out
    pixels: NDArray[Any] = dataset.read(list(indexes), window=window, out=out)
    return pixels


def _parts(start: int, size: int, side: int) -> Iterator[tuple[int, int, slice]]:
    """Yield the tiles that a window meets along an axis: number, first pixel, place in the window.

    Args:
        start: First pixel of the window.
        size: Pixels of the window.
        side: Pixels of a tile.
    """
    for number in range(start // side, -(-(start + size) // side)):
        first = max(number * side, start)
        end = min((number + 1) * side, start + size)
        yield number, first - number * side, slice(first - start, end - start)


def _open(dataset: DatasetReader) -> int | None:
    """Open the file itself; None if it lies elsewhere, or its bytes are in another order."""
    try:
        file = os.open(dataset.name, os.O_RDONLY)
    except OSError:
        return None
    if os.pread(file, 2, 0) != _LITTLE_ENDIAN:
        os.close(file)
        return None
    weakref.finalize(dataset, os.close, file)
    return file
