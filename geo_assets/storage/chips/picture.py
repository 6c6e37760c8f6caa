"""Chips as pictures for people and for vision models: three bands of 8 bits, png or jpg.

The label band cannot be in a picture: a jpg is lossy, and neither has a fourth band that is not
transparency. Value 0 in all bands is no data; data begin at 1.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from geo_assets.core.chips import ChipPixels
from geo_assets.errors import StorageError
from geo_assets.storage.chips.expectation import decoding, invalid, valid_by_value

if TYPE_CHECKING:
    from geo_assets.storage.chips.expectation import ChipEncoding, ChipExpectation

_MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff"}
_PILLOW_NAME = {"png": "PNG", "jpg": "JPEG"}
_END = {"png": b"IEND\xaeB`\x82", "jpg": b"\xff\xd9"}


def encode_picture(pixels: ChipPixels, encoding: ChipEncoding) -> bytes:
    """Return three stretched bands as png (lossless) or jpg (quality 95, full chroma)."""
    stretch = encoding.stretch
    if stretch is None:
        raise StorageError(f"chip format {encoding.format!r} needs a stretch to 8 bits")
    low, high = (np.array(side)[:, None, None] for side in (stretch.low, stretch.high))
    image = pixels.data[list(stretch.bands)].astype(np.float64)
    share = np.clip((np.nan_to_num(image) - low) / (high - low), 0, 1)
    eight_bits = np.where(pixels.valid, np.rint(1 + share * 254), 0).astype(np.uint8)
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if encoding.format == "jpg" else {}
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(eight_bits, 0, -1)).save(
        file, _PILLOW_NAME[encoding.format], **options
    )
    return file.getvalue()


def decode_picture(payload: bytes, expected: ChipExpectation) -> ChipPixels:
    """Decode a picture in full; a png may carry its validity as transparency.

    Raises:
        ReadError: (``invalid_payload``) Whatever differs, by name.
    """
    name = expected.format
    if not payload.startswith(_MAGIC[name]):
        raise invalid("its beginning", payload[:8], f"that of a {name}")
    # A decoder that meets the end too early may paint the rest grey and say nothing.
    if not payload.endswith(_END[name]):
        raise invalid("its end", payload[-8:], f"that of a whole {name}")
    with decoding(name), Image.open(io.BytesIO(payload), formats=[_PILLOW_NAME[name]]) as image:
        _, rows, columns = expected.shape
        if (image.height, image.width) != (rows, columns):
            raise invalid("its shape (y, x)", (image.height, image.width), (rows, columns))
        if image.mode not in {"RGB", "RGBA"}:
            raise invalid("its mode", image.mode, "RGB, 8 bits a band")
        array = np.moveaxis(np.asarray(image), -1, 0)
    if len(array) == 4:
        return ChipPixels(array[:3], array[3] > 0)
    return ChipPixels(array, valid_by_value(array))
