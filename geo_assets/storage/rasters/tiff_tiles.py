"""Tiles of GeoTIFFs on a local disk, unpacked without GDAL's block cache and copies.

GDAL takes 1.6 times as long for a deflated tile. Of the many forms of a GeoTIFF this knows the one
that archives and this package give to integers: tiles, packed by Deflate or Zstandard, with or
without differences along the row (predictor 2). What is of another form, and whatever fails, is
left to GDAL, which says why
(docs/decisions/0013-tiles-unpacked-without-gdal.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from imagecodecs import deflate_decode, zstd_decode

from geo_assets.core.kernels.tiles import lay_tile
from geo_assets.storage.file_version import FileVersion, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from rasterio import DatasetReader
    from rasterio.windows import Window

_LITTLE_ENDIAN = b"II"
_DTYPES = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32"})
_INTERLEAVED = {"PIXEL": True, "BAND": False}
"""Whether a tile holds all bands, by what GDAL calls it."""
# A damaged stream or length, or tiles that claim to hold gigabytes.
_FAILURES = (RuntimeError, ValueError, OSError, OverflowError, MemoryError)
# Their types know no array as "out", which both take.
_Unpack = Callable[..., Any]
_UNPACK: dict[str | None, _Unpack] = {"DEFLATE": deflate_decode, "ZSTD": zstd_decode}


@dataclass(frozen=True)
class TiffForm:
    """How the tiles of one file are to be unpacked.

    Attributes:
        path: The file.
        version: What tells that it is the one that was looked at.
        dtype: Of all bands.
        size: Rows and columns of the file.
        side: Rows and columns of a tile.
        samples: Bands that lie together in a tile: all, or one.
        differences: Whether a value is stored as the difference to the one on its left.
        unpack: Writes the bytes of a tile where it is told to, and returns them.
    """

    path: str
    version: FileVersion
    dtype: np.dtype[Any]
    size: tuple[int, int]
    side: tuple[int, int]
    samples: int
    differences: bool
    unpack: _Unpack

    @classmethod
    def of(cls, dataset: DatasetReader) -> TiffForm | None:
        """Return the form of an open file; None if it is of another, or not on a local disk."""
        if dataset.driver != "GTiff" or {*dataset.dtypes[1:]} - {dataset.dtypes[0]}:
            return None
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        unpack = _UNPACK.get(structure.get("COMPRESSION"))
        predictor = structure.get("PREDICTOR", "1")
        together = _INTERLEAVED.get(structure.get("INTERLEAVE", "BAND"))
        if (
            unpack is None
            or together is None
            or predictor not in {"1", "2"}
            or dataset.dtypes[0] not in _DTYPES
            or dataset.block_shapes[0][1] >= dataset.width  # strips are as wide as the file
            or "NBITS" in dataset.tags(1, ns="IMAGE_STRUCTURE")
            or "SOURCE_COLOR_SPACE" in structure  # colours that GDAL converts
            # What a side file says of the structure passes for what the file does.
            or any(name.endswith(".aux.xml") for name in dataset.files)
        ):
            return None
        try:
            with open(dataset.name, "rb", buffering=0) as file:  # noqa: PTH123  # GDAL's name
                version = version_of(file.fileno())
                if file.read(2) != _LITTLE_ENDIAN:
                    return None
        except OSError:
            return None
        return cls(
            dataset.name,
            version,
            np.dtype(dataset.dtypes[0]),
            dataset.shape,
            dataset.block_shapes[0],
            dataset.count if together else 1,
            predictor == "2",
            unpack,
        )

    def read(
        self, dataset: DatasetReader, indexes: Sequence[int], window: Window, out: NDArray[Any]
    ) -> bool:
        """Write the pixels of a window.

        Args:
            dataset: The file as it was opened, which no other thread uses: it knows where tiles
                lie.
            indexes: Numbers of the bands, from 1.
            window: Whole pixels.
            out: (band, y, x).

        Returns:
            Whether it could be done; if not, ``out`` may hold some of the pixels. It cannot where
            the window reaches beyond the file, ``out`` is of another dtype, the file has been
            replaced, or a tile was never written or is damaged.
        """
        top, left = int(window.row_off), int(window.col_off)
        _, height, width = out.shape
        inside = min(top, left) >= 0 and top + height <= self.size[0]
        if not inside or left + width > self.size[1] or out.dtype != self.dtype:
            return False
        try:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123  # GDAL's name
                same = version_of(file.fileno()) == self.version
                return same and self._lay(file.fileno(), dataset, indexes, (top, left), out)
        except _FAILURES:
            return False

    def _lay(
        self,
        file: int,
        dataset: DatasetReader,
        indexes: Sequence[int],
        corner: tuple[int, int],
        out: NDArray[Any],
    ) -> bool:
        """Write the pixels of a window within the file, see ``read``."""
        together = len(indexes) if self.samples > 1 else 1
        samples = (np.array(indexes) - 1) % self.samples
        # One for all tiles: memory that is new for each would cost a third of the unpacking.
        room = np.empty(math.prod(self.side) * self.samples * self.dtype.itemsize, np.uint8)
        packed = np.empty(0, np.uint8)
        for row, first_row, rows in _parts(corner[0], out.shape[1], self.side[0]):
            for col, first_col, cols in _parts(corner[1], out.shape[2], self.side[1]):
                for band in range(0, len(indexes), together):
                    place = _place(dataset, row, col, indexes[band])
                    if place is None:
                        return False
                    length, offset = place
                    if length > len(packed):
                        packed = np.empty(max(length, len(room)), np.uint8)
                    if os.preadv(file, [packed[:length].data], offset) < length:
                        return False
                    tile = self._tile(packed[:length], room)
                    bands = slice(band, band + together)
                    part = out[bands, rows, cols]
                    lay_tile(tile, samples[bands], first_row, first_col, self.differences, part)
        return True

    def _tile(self, packed: NDArray[np.uint8], room: NDArray[np.uint8]) -> NDArray[Any]:
        """Unpack a tile (y, x, sample) into ``room``, which it fills.

        Raises:
            RuntimeError: It is damaged or larger.
            ValueError: It is smaller.
        """
        if len(self.unpack(packed, out=room)) != len(room):
            raise ValueError("cut short")
        return room.view(self.dtype).reshape(*self.side, self.samples)


_FORMS: WeakKeyDictionary[DatasetReader, TiffForm | None] = WeakKeyDictionary()


def form_of(dataset: DatasetReader) -> TiffForm | None:
    """Return ``TiffForm.of`` a file, which is looked at once; soonest while nobody replaces it."""
    try:
        return _FORMS[dataset]
    except KeyError:
        return _FORMS.setdefault(dataset, TiffForm.of(dataset))


def read_pixels(
    dataset: DatasetReader,
    indexes: Sequence[int],
    window: Window,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the pixels of a window (band, y, x), as ``DatasetReader.read`` does.

    Args:
        dataset: A raster opened for reading, which no other thread uses.
        indexes: Numbers of the bands, from 1.
        window: Whole pixels.
        out: Where they are written; None: a new array.

    Raises:
        RasterioIOError: The file is damaged.
    """
    form = form_of(dataset)
    if form is not None:
        shape = (len(indexes), int(window.height), int(window.width))
        room = np.empty(shape, form.dtype) if out is None else out
        if form.read(dataset, indexes, window, room):
            return room
    pixels: NDArray[Any] = dataset.read(list(indexes), window=window, out=out)
    return pixels


def _place(dataset: DatasetReader, row: int, col: int, index: int) -> tuple[int, int] | None:
    """Return length and offset of a tile of a band; None if it was never written."""
    length, offset = (
        dataset.get_tag_item(f"{what}_{col}_{row}", "TIFF", bidx=index)
        for what in ("BLOCK_SIZE", "BLOCK_OFFSET")
    )
    return None if length is None or offset is None else (int(length), int(offset))


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
