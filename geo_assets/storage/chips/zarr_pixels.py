"""One chip as it lies in a Zarr store: a chunk of pixels, then a chunk of validity.

Chunks are encoded as the store's metadata says (``zarr_metadata.py``): Blosc with bit shuffle
and LZ4, then CRC-32C. On pixels of 16 bits this is three times as quick as Zstandard at level 1 and
5 % larger. A Blosc frame states its own length (README_CHUNK_FORMAT.rst of c-blosc 1), so that the
two can be told apart again.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from geo_assets.core.chips import ChipPixels
from geo_assets.storage.blosc import Blosc
from geo_assets.storage.chips.expectation import decoding, invalid

if TYPE_CHECKING:
    import numpy.typing as npt

    from geo_assets.storage.chips.expectation import ChipExpectation

COMPRESSOR, LEVEL, BLOCK_BYTES = "lz4", 1, 2**16
_CRC_BYTES = 4
_FRAME_HEADER = struct.Struct("<4B3I")
"""Versions, flags, size of a value; then bytes unpacked, bytes of a block, bytes packed."""


def encode_zarr(pixels: ChipPixels) -> bytes:
    """Return the two chunks of a chip: (band, y, x) in its dtype, then (y, x) as bool."""
    frames = [_frame(pixels.data), _frame(pixels.valid)]
    return b"".join(part for frame in frames for part in (frame, crc_of(frame)))


def decode_zarr(payload: bytes, expected: ChipExpectation) -> ChipPixels:
    """Decode the chunks of a chip, both in full, after their checksums proved right.

    Raises:
        ReadError: (``invalid_payload``) Whatever differs, by name.
    """
    chunks = split_chunks(payload)
    if chunks is None:
        raise invalid("its beginning", payload[:16], "two Blosc frames of its length")
    data = _unpacked(chunks[0], expected.shape, expected.dtype, "its pixels")
    valid = _unpacked(chunks[1], expected.shape[1:], "uint8", "its validity")
    if valid.max(initial=0) > 1:
        raise invalid("its validity", f"values up to {valid.max()}", "0 or 1")
    return ChipPixels(data, valid.astype(bool))


def split_chunks(payload: bytes) -> tuple[memoryview, memoryview] | None:
    """Return the chunk of pixels and that of validity; None where there are no two."""
    first = _chunk_bytes(payload, 0)
    second = None if first is None else _chunk_bytes(payload, first)
    if first is None or second is None or first + second != len(payload):
        return None
    whole = memoryview(payload)
    return whole[:first], whole[first:]


def crc_of(content: bytes | memoryview) -> bytes:
    """Return what Zarr's codec ``crc32c`` puts behind bytes."""
    crc: int = google_crc32c.value(bytes(content))
    return crc.to_bytes(_CRC_BYTES, "little")


def _frame(array: npt.NDArray[Any]) -> bytes:
    # No level, block or thread is left to the library's choice: equal arrays, equal bytes.
    codec = Blosc(
        COMPRESSOR, LEVEL, Blosc.BITSHUFFLE, blocksize=BLOCK_BYTES, typesize=array.dtype.itemsize
    )
    return bytes(codec.encode(np.ascontiguousarray(array)))


def _chunk_bytes(payload: bytes, at: int) -> int | None:
    if len(payload) < at + _FRAME_HEADER.size:
        return None
    packed: int = _FRAME_HEADER.unpack_from(payload, at)[6]
    size = packed + _CRC_BYTES
    return size if packed >= _FRAME_HEADER.size and at + size <= len(payload) else None


def _unpacked(chunk: memoryview, shape: tuple[int, ...], dtype: str, what: str) -> npt.NDArray[Any]:
    frame, crc = chunk[:-_CRC_BYTES], bytes(chunk[-_CRC_BYTES:])
    if (found := crc_of(frame)) != crc:
        raise invalid(f"the CRC-32C of {what}", found.hex(), crc.hex())
    array = np.empty(shape, dtype)
    size = _FRAME_HEADER.unpack_from(frame)[4]
    if size != array.nbytes:
        raise invalid(f"the size of {what}", f"{size} bytes", f"{array.nbytes} bytes")
    with decoding("Blosc frame"):
        Blosc().decode(frame, array)
    return array
