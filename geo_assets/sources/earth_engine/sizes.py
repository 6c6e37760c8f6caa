"""What the service refuses for its size, found out before asking.

Limits: https://developers.google.com/earth-engine/reference/rest (image:computePixels) and the
messages of the service itself.
"""

from __future__ import annotations

from geo_assets.errors import SourceError

MAX_REQUEST_BYTES = 50_331_648
"""Uncompressed bytes of the pixels of one request (48 MiB)."""
MAX_SIDE_PIXELS = 32_768
MAX_BANDS = 1_024
MAX_EXPRESSION_BYTES = 10_485_760
"""Bytes of a request's body (10 MiB)."""


def check_request(width: int, height: int, bytes_per_pixel: int, bands: int) -> None:
    """Refuse a request for more pixels than the service gives at once.

    Args:
        width: Columns.
        height: Rows.
        bytes_per_pixel: Bytes of all bands of one pixel.
        bands: Bands in the answer.

    Raises:
        SourceError: The request is too large, or empty.
    """
    size = f"a request of {width} x {height} pixels in {bands} bands"
    if width < 1 or height < 1 or bands < 1 or bytes_per_pixel < 1:
        raise SourceError(f"{size} of {bytes_per_pixel} bytes a pixel asks for nothing")
    if max(width, height) > MAX_SIDE_PIXELS:
        raise SourceError(f"{size} is too wide or too high; allowed are {MAX_SIDE_PIXELS:,} a side")
    if bands > MAX_BANDS:
        raise SourceError(f"{size} has too many bands; allowed are {MAX_BANDS:,}")
    asked = width * height * bytes_per_pixel
    if asked > MAX_REQUEST_BYTES:
        raise SourceError(
            f"{size} is {asked:,} bytes; allowed are {MAX_REQUEST_BYTES:,}: use smaller chips"
        )


def check_expression(length: int) -> None:
    """Refuse a serialised expression of more bytes than the service reads.

    Raises:
        SourceError: It is too long.
    """
    if length > MAX_EXPRESSION_BYTES:
        raise SourceError(
            f"the serialised expression is {length:,} bytes; allowed are "
            f"{MAX_EXPRESSION_BYTES:,}: use fewer scenes a composite"
        )
