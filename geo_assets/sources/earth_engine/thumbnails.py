"""One chip as a picture by two requests: a thumbnail is named, and its bytes are fetched.

https://developers.google.com/earth-engine/reference/rest/v1/projects.thumbnails
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

from geo_assets.errors import ReadError
from geo_assets.storage.chips.expectation import ChipExpectation
from geo_assets.storage.chips.picture import decode_picture

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

Picture = Literal["png", "jpg"]
_FORMATS: dict[Picture, str] = {"png": "PNG", "jpg": "JPEG"}
_NAME = re.compile(r"projects/[\w.:-]+/thumbnails/[\w-]+")


def thumbnail_body(expression: str, picture: Picture) -> bytes:
    """Return the body that asks for a picture; the expression holds its grid."""
    return f'{{"expression":{expression},"fileFormat":"{_FORMATS[picture]}"}}'.encode()


def thumbnail_name(payload: bytes) -> str:
    """Return the resource that an answer names.

    Raises:
        ReadError: (``invalid_payload``) If it names none.
    """
    try:
        name = str(json.loads(payload)["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReadError("the server's answer names no thumbnail", kind="invalid_payload") from error
    if not _NAME.fullmatch(name):
        raise ReadError(f"the server names a thumbnail {name[:80]!r}", kind="invalid_payload")
    return name


def whole_picture(payload: bytes, picture: Picture, geobox: GeoBox) -> bytes:
    """Return a picture after it was decoded in full, with three bands on the grid's shape.

    Raises:
        ReadError: (``invalid_payload``) Whatever differs, by name.
    """
    expected = ChipExpectation(picture, ("red", "green", "blue"), "uint8", geobox, label_band=False)
    decode_picture(payload, expected)
    return payload
