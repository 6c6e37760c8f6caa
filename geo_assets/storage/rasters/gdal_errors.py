"""What GDAL says of a failure."""

from __future__ import annotations


def reason_of(error: BaseException) -> str:
    """Return GDAL's own words, which rasterio keeps as the cause of 'see previous exception'."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
