"""GeoTIFFs of one kind made quickly: GDAL writes the tags once, we fill in pixels and place.

Chips differ in their pixels and in two numbers, the place of their upper left corner. Everything
else in a GeoTIFF (tags of the image, CRS, band names) is taken from one file that GDAL wrote, and
each template proves itself: GDAL must read back what it was given, or it is not used.

Layout: header, tags of the image, tags of the mask, then one strip a band and that of the mask.
https://www.loc.gov/preservation/digital/formats/fdd/fdd000022.shtml (TIFF 6.0), OGC 19-008r4
(GeoTIFF 1.1); compression 50000 is Zstandard: https://gdal.org/en/stable/drivers/raster/gtiff.html
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import Zstd  # type: ignore[import-untyped]  # ships no types

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    from affine import Affine

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 12: 8, 16: 8}
"""Bytes of a value by TIFF's type."""
_LONG = 4
_STRIP_OFFSETS, _STRIP_COUNTS = 273, 279
_TIEPOINT, _MATRIX = 33922, 34264
_ENTRY = struct.Struct("<HHI4s")
_ZSTD = Zstd(level=1)

_Tags = dict[int, tuple[int, int, bytes]]
"""Type, number of values and their bytes, by tag."""


@dataclass(frozen=True)
class GeotiffTemplate:
    """What all files of one kind have in common; made by ``template_of``."""

    head: bytes
    """Everything before the first strip; strips and place are still to be filled in."""
    offsets: int
    """Where the offsets of the bands' strips lie in ``head``; their sizes follow at ``counts``."""
    counts: int
    mask_offset: int
    mask_count: int
    x: int
    """Where the place of the upper left corner lies: a double each."""
    y: int
    bands: int

    @cached_property
    def _all_valid(self) -> dict[tuple[int, ...], bytes]:
        return {}

    def pack(
        self, data: npt.NDArray[Any], valid: npt.NDArray[np.bool_], transform: Affine
    ) -> bytes:
        """Return a file of pixels (band, y, x) and validity (y, x); its corner at (c, f)."""
        strips = [_ZSTD.encode(band) for band in predicted(data)]
        mask = self._mask(valid)
        return b"".join([self._head(strips, mask, transform), *strips, mask])

    def check(
        self,
        payload: bytes,
        data: npt.NDArray[Any],
        valid: npt.NDArray[np.bool_],
        transform: Affine,
    ) -> str | None:
        """Unpack a file again; return what is wrong with it, None where it holds just that."""
        head = payload[: len(self.head)]
        if len(head) < len(self.head):
            return "its header"
        sizes = struct.unpack_from(f"<{self.bands}I", head, self.counts)
        (mask_size,) = struct.unpack_from("<I", head, self.mask_count)
        at = len(self.head)
        strips = []
        for size in sizes:
            strips.append(payload[at : at + size])
            at += size
        mask = payload[at:]
        if len(mask) != mask_size or head != self._head(strips, mask, transform):
            return "its header"
        try:
            unpacked = [_ZSTD.decode(strip) for strip in strips]
            bits = zlib.decompress(mask)
        except (RuntimeError, ValueError, zlib.error) as error:
            return f"a strip that cannot be unpacked ({error})"
        wanted = predicted(data)
        if not all(map(_holds, unpacked, wanted)):
            return "its pixels"
        return None if bits == _bits(valid) else "its mask"

    def _mask(self, valid: npt.NDArray[np.bool_]) -> bytes:
        if not valid.all():
            return zlib.compress(_bits(valid), 6)
        # Most chips.
        if valid.shape not in self._all_valid:
            self._all_valid[valid.shape] = zlib.compress(_bits(valid), 6)
        return self._all_valid[valid.shape]

    def _head(self, strips: list[bytes], mask: bytes, transform: Affine) -> bytes:
        head = bytearray(self.head)
        sizes = [len(strip) for strip in strips]
        places = np.cumsum([len(head), *sizes]).tolist()
        struct.pack_into(f"<{self.bands}I", head, self.offsets, *places[:-1])
        struct.pack_into(f"<{self.bands}I", head, self.counts, *sizes)
        struct.pack_into("<I", head, self.mask_offset, places[-1])
        struct.pack_into("<I", head, self.mask_count, len(mask))
        struct.pack_into("<d", head, self.x, transform.c)
        struct.pack_into("<d", head, self.y, transform.f)
        return bytes(head)


def template_of(example: bytes) -> GeotiffTemplate:
    """Make a template of a file that GDAL wrote: Zstandard, one strip a band, internal mask.

    Raises:
        StorageError: The file is not of this structure.
    """
    directories = list(_directories(example))
    if len(directories) != 2:
        raise StorageError(f"GeoTIFF template: {len(directories)} directories instead of 2")
    image, mask = directories
    bands = image[_STRIP_OFFSETS][1]
    for tags in directories:
        for tag in (_STRIP_OFFSETS, _STRIP_COUNTS):
            count = tags[tag][1]
            tags[tag] = (_LONG, count, bytes(4 * count))
    head = bytearray(b"II*\x00\x08\x00\x00\x00")
    at_image = _append(head, image, last=False)
    at_mask = _append(head, mask, last=True)
    # The corner: of the one tie point, or in the fourth column of the matrix.
    at_x, at_y = (
        (at_image[_TIEPOINT] + 24, at_image[_TIEPOINT] + 32)
        if _TIEPOINT in image
        else (at_image[_MATRIX] + 24, at_image[_MATRIX] + 56)
    )
    return GeotiffTemplate(
        bytes(head),
        offsets=at_image[_STRIP_OFFSETS],
        counts=at_image[_STRIP_COUNTS],
        mask_offset=at_mask[_STRIP_OFFSETS],
        mask_count=at_mask[_STRIP_COUNTS],
        x=at_x,
        y=at_y,
        bands=bands,
    )


def predicted(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what TIFF's predictors make of pixels (band, y, x): 2 of integers, 3 of floats.

    Integers become differences along the row. Of floats the bytes of each row are sorted by their
    weight, and become differences then: (band, y, bytes).
    """
    if np.issubdtype(data.dtype, np.floating):
        size = data.dtype.itemsize
        weights = data.astype(data.dtype.newbyteorder(">")).view(np.uint8)
        rows = weights.reshape(*data.shape, size)
        data = np.ascontiguousarray(np.moveaxis(rows, -1, -2)).reshape(*data.shape[:2], -1)
    pixels = np.ascontiguousarray(data)
    # Over the ends of rows, whose first pixels are put right then: long runs are quick.
    differences = np.empty_like(pixels)
    np.subtract(pixels.ravel()[1:], pixels.ravel()[:-1], out=differences.ravel()[1:])
    differences[..., 0] = pixels[..., 0]
    return differences


def _holds(content: bytes, wanted: npt.NDArray[Any]) -> bool:
    """Whether bytes are those of an array."""
    if len(content) != wanted.nbytes:
        return False
    # Eight at a time, where they come so.
    words = np.uint64 if wanted.nbytes % 8 == 0 else np.uint8
    return np.array_equal(np.frombuffer(content, words), wanted.reshape(-1).view(words))


def _bits(valid: npt.NDArray[np.bool_]) -> bytes:
    return np.packbits(valid, axis=1).tobytes()


def _directories(file: bytes) -> Iterator[_Tags]:
    """Yield the tags of each image of a little-endian TIFF."""
    (at,) = struct.unpack_from("<I", file, 4)
    while at:
        (count,) = struct.unpack_from("<H", file, at)
        tags: _Tags = {}
        for number in range(count):
            tag, kind, values, inline = _ENTRY.unpack_from(file, at + 2 + 12 * number)
            size = _SIZES[kind] * values
            (place,) = struct.unpack("<I", inline)
            tags[tag] = (kind, values, inline[:size] if size <= 4 else file[place : place + size])
        yield tags
        (at,) = struct.unpack_from("<I", file, at + 2 + 12 * count)


def _append(head: bytearray, tags: _Tags, *, last: bool) -> Mapping[int, int]:
    """Append a directory and its values; return where the values of each tag lie."""
    start = len(head)
    end = start + 2 + 12 * len(tags) + 4
    places: dict[int, int] = {}
    entries, values = b"", b""
    for number, (tag, (kind, count, content)) in enumerate(sorted(tags.items())):
        if len(content) <= 4:
            places[tag] = start + 2 + 12 * number + 8
            inline = content.ljust(4, b"\0")
        else:
            places[tag] = end + len(values)
            inline = struct.pack("<I", places[tag])
            values += content.ljust(-(-len(content) // 8) * 8, b"\0")
        entries += _ENTRY.pack(tag, kind, count, inline)
    padding = -(end + len(values)) % 8
    following = 0 if last else end + len(values) + padding
    head += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    head += values + bytes(padding)
    return places
