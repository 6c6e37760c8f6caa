"""Payloads of chips: every format's bytes made here are checked here, and so are those of a server.

Which chips exist and how they fared is the catalog's business (``catalog.py``).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.errors import StorageError
from geo_assets.storage.checksums import sha256, xxh3_128
from geo_assets.storage.chips.expectation import (
    PICTURES,
    ChipEncoding,
    ChipExpectation,
    Stretch,
    invalid,
)
from geo_assets.storage.chips.geotiff import (
    check_geotiff,
    decode_geotiff,
    decode_zip,
    encode_geotiff,
    encode_zip,
)
from geo_assets.storage.chips.npy import decode_npy, encode_npy
from geo_assets.storage.chips.picture import decode_picture, encode_picture
from geo_assets.storage.chips.zarr_pixels import decode_zarr, encode_zarr

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from geo_assets.core.chips import ChipFormat, ChipPixels, ChipSpec

__all__ = [
    "MEDIA_TYPES",
    "CheckedChip",
    "ChipEncoding",
    "ChipExpectation",
    "Stretch",
    "check_made",
    "check_payload",
    "decode_chip",
    "encode_chip",
    "label_fraction",
]

MEDIA_TYPES = {
    "tif": "image/tiff; application=geotiff",
    "npy": "application/x-npy",
    "png": "image/png",
    "jpg": "image/jpeg",
    "zip": "application/zip",
    "zarr": "application/vnd.zarr; version=3",
}
_IGNORED = 255
_KEEP_VALIDITY = frozenset({"zip", "zarr"})
_FRAMES_A_LOOK = 16
"""Of so many chips of a Zarr store one is decoded again, by its id. Their frames are made by Blosc
alone, as those of cubes are: a fault of its making or of its settings would show, one of the memory
under a single chip would not."""


@dataclass(frozen=True)
class CheckedChip:
    """Bytes that proved to be the chip that was asked for."""

    valid_fraction: float
    """Share of pixels with a datum, 0 to 1."""
    label_fraction: float | None
    """Share of pixels with a class (1 to 254), 0 to 1; None without a label band."""
    checksum: str
    """Multihash of the bytes."""
    size: int
    """Bytes."""


def encode_chip(pixels: ChipPixels, spec: ChipSpec, encoding: ChipEncoding) -> bytes:
    """Return a chip's file; the same pixels give the same bytes, without a time or a path.

    Formats: ``tif`` (GeoTIFF, internal mask), ``zip`` (the same, zipped), ``npy`` (plain array,
    no validity), ``png`` and ``jpg`` (three stretched bands, without the label band), ``zarr`` (the
    chip's chunks of a Zarr store).

    Raises:
        StorageError: The pixels do not fit the grid, the bands or the dtype they are meant for.
    """
    wanted = (len(encoding.bands), *spec.geobox.shape)
    if pixels.data.shape != wanted or pixels.data.dtype != encoding.dtype:
        raise StorageError(
            f"chip {spec.chip_id}: pixels are {pixels.data.dtype} of shape {pixels.data.shape}, "
            f"wanted are {encoding.dtype} of shape {wanted}"
        )
    if encoding.format == "tif":
        return encode_geotiff(pixels, spec, encoding)
    if encoding.format == "zip":
        return encode_zip(pixels, spec, encoding)
    if encoding.format == "npy":
        return encode_npy(pixels)
    if encoding.format == "zarr":
        return encode_zarr(pixels)
    return encode_picture(pixels, encoding)


def decode_chip(payload: bytes, expected: ChipExpectation) -> ChipPixels:
    """Read a chip's bytes in full after checking that they are what was asked for.

    Pictures give three bands (y, x last) of uint8, every other format all bands in their dtype.

    Raises:
        ReadError: (``invalid_payload``) The message names what differs: magic bytes, shape, bands,
            dtype, CRS, transform (0.01 px), members of a zip archive, or a band that cannot be
            read in full.
    """
    if expected.format == "tif":
        return decode_geotiff(payload, expected)
    if expected.format == "zip":
        return decode_zip(payload, expected)
    if expected.format == "npy":
        return decode_npy(payload, expected)
    if expected.format == "zarr":
        return decode_zarr(payload, expected)
    return decode_picture(payload, expected)


def check_payload(payload: bytes, expected: ChipExpectation) -> CheckedChip:
    """Check that bytes, of a server or of our own making, are the chip that was asked for.

    A payload without a mask counts as no data where all image bands hold 0 or their dtype's fill.

    Raises:
        ReadError: (``invalid_payload``) As ``decode_chip``.
    """
    pixels = decode_chip(payload, expected)
    labelled = expected.label_band and expected.format not in PICTURES
    return CheckedChip(
        valid_fraction=valid_fraction(pixels.valid),
        label_fraction=label_fraction(pixels.data[-1]) if labelled else None,
        checksum=_checksum(payload, expected.format),
        size=len(payload),
    )


def check_made(
    payload: bytes, pixels: ChipPixels, spec: ChipSpec, encoding: ChipEncoding
) -> CheckedChip:
    """Check that bytes that ``encode_chip`` has just made hold the pixels they were made of.

    Every byte is decoded again, of a Zarr store that of a sixteenth of the chips, and pixels are
    compared one by one; pictures, which hold less than the pixels, must be what ``check_payload``
    asks. Fractions are those of the pixels: not every format can say what they know.

    Raises:
        ReadError: (``invalid_payload``) Something differs.
    """
    if encoding.format == "tif":
        check_geotiff(payload, pixels, spec, encoding)
    elif encoding.format != "zarr" or zlib.crc32(spec.chip_id.encode()) % _FRAMES_A_LOOK == 0:
        back = decode_chip(payload, encoding.expect(spec.geobox))
        if encoding.format not in PICTURES and not _equal(back.data, pixels.data):
            raise invalid("its pixels", "other", "what the chip was made of")
        if encoding.format in _KEEP_VALIDITY and not _equal(back.valid, pixels.valid):
            raise invalid("its validity", "another", "what the chip was made of")
    return CheckedChip(
        valid_fraction=valid_fraction(pixels.valid),
        label_fraction=label_fraction(pixels.data[-1]) if encoding.label_band else None,
        checksum=_checksum(payload, encoding.format),
        size=len(payload),
    )


def _checksum(payload: bytes, chip_format: ChipFormat) -> str:
    return xxh3_128(payload) if chip_format == "zarr" else sha256(payload)


def label_fraction(label_band: npt.NDArray[Any]) -> float:
    """Return the share of pixels of a label band (y, x) that carry a class, 1 to 254."""
    labelled = np.count_nonzero((label_band > 0) & (label_band < _IGNORED))
    return labelled / label_band.size


def valid_fraction(valid: npt.NDArray[np.bool_]) -> float:
    """Return the share of pixels (y, x) that have a datum."""
    return int(np.count_nonzero(valid)) / valid.size


def _equal(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether two arrays of one dtype hold the same bytes; NaN is no equal of itself."""
    # Eight at a time where they lie one behind the other.
    flat = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (one, other)]
    first, second = (array[: len(array) // 8 * 8].view(np.uint64) for array in flat)
    return (
        one.shape == other.shape
        and np.array_equal(first, second)
        and np.array_equal(flat[0][-8:], flat[1][-8:])
    )
