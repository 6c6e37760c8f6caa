"""What a chip's bytes must be: its encoding, and the encoding on one chip's grid.

Shared by the formats (``geotiff.py``, ``npy.py``, ``picture.py``) and by
``files.py``, which chooses among them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.chips import CHIP_FORMATS
from geo_assets.errors import ReadError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox

    from geo_assets.core.chips import ChipFormat

PICTURES: frozenset[str] = frozenset({"png", "jpg"})
INT16_FILL = -32768


@dataclass(frozen=True)
class Stretch:
    """Which bands a picture shows, and how: values from low to high become 1 to 255."""

    bands: tuple[int, int, int]
    """Positions of red, green and blue among the bands, counted from 0."""
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise StorageError(f"stretch {self.low} to {self.high}: low must lie below high")


@dataclass(frozen=True)
class ChipEncoding:
    """How all chips of one catalog are written.

    Raises:
        StorageError: The format is unknown, or a picture comes without its stretch.
    """

    format: ChipFormat
    bands: tuple[str, ...]
    """Names in order, the label band last when there is one."""
    dtype: str
    """numpy's name of the one dtype that all bands share, such as ``uint16``."""
    label_band: bool = True
    """Whether the last band is the label band. Pictures (png, jpg) never hold it."""
    stretch: Stretch | None = None
    """Needed by pictures, without meaning for the other formats."""

    def __post_init__(self) -> None:
        if self.format not in CHIP_FORMATS:
            raise StorageError(f"chip format {self.format!r}: allowed are {list(CHIP_FORMATS)}")
        if self.format in PICTURES and self.stretch is None:
            raise StorageError(f"chip format {self.format!r} needs a stretch to 8 bits")

    def expect(self, geobox: GeoBox) -> ChipExpectation:
        """Return what a chip on this grid must be."""
        return ChipExpectation(
            format=self.format,
            bands=self.bands,
            dtype=self.dtype,
            geobox=geobox,
            label_band=self.label_band,
        )


@dataclass(frozen=True)
class ChipExpectation:
    """What the bytes of one chip must be."""

    format: ChipFormat
    bands: tuple[str, ...]
    dtype: str
    geobox: GeoBox
    label_band: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(band, y, x); pictures have three bands, whatever the chip has."""
        rows, columns = self.geobox.shape
        return (3 if self.format in PICTURES else len(self.bands), int(rows), int(columns))


def crs_of(geobox: GeoBox) -> CRS:
    """Return a grid's coordinate reference system.

    Raises:
        StorageError: The grid has none.
    """
    if geobox.crs is None:
        raise StorageError(f"the chip grid {geobox!r} has no coordinate reference system")
    return geobox.crs


def invalid(what: str, got: object, wanted: object) -> ReadError:
    """Return the error that says how a payload differs from what was asked for."""
    return ReadError(f"chip payload: {what} is {got}, wanted is {wanted}", kind="invalid_payload")


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn whatever a decoder says of damaged bytes into an invalid payload.

    Decoders answer damage with errors of every kind (Pillow even with SyntaxError), and the bytes
    may come from anywhere; hence no narrower class.
    """
    try:
        yield
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(
            f"chip payload: cannot be read in full as {what}: {error}", kind="invalid_payload"
        ) from error


def valid_by_value(image: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return the validity (y, x) of image bands (band, y, x) that carry no mask.

    No datum is where every band holds 0 or the fill of its dtype: NaN in floating point, -32768
    in int16. A label band must be left out before.
    """
    empty = image == 0
    if np.issubdtype(image.dtype, np.floating):
        empty |= np.isnan(image)
    elif image.dtype == np.int16:
        empty |= image == INT16_FILL
    valid: npt.NDArray[np.bool_] = ~empty.all(axis=0)
    return valid
