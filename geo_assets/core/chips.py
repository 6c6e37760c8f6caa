"""Chips as values: what is wanted, what was read, and how it ended.

A chip is one window of the pixel lattice of its area. Nothing here touches a file: formats live in
``storage/chips/files.py``, the table of chips in ``storage/chips/catalog.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    import numpy as np
    import numpy.typing as npt
    from odc.geo.geobox import GeoBox

    from geo_assets.errors import ErrorKind

ChipStatus = Literal["ok", "no_imagery", "failed"]
"""``no_imagery`` is an answer (no scene, or nothing but no-data); ``failed`` is not."""

ChipFormat = Literal["tif", "npy", "png", "jpg", "zip", "zarr"]
CHIP_FORMATS: tuple[ChipFormat, ...] = get_args(ChipFormat)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ABSOLUTE_PATH = re.compile(r"/|~|\\\\|[A-Za-z]:[\\/]|file:", re.IGNORECASE)


@dataclass(frozen=True)
class ChipSpec:
    """One wanted chip.

    Raises:
        StorageError: A name could not be a file's name, the recipe is no SHA-256, or the dates
            have no time zone.
    """

    chip_id: str
    """Stable name: fold, split, row and column on the pixel lattice; also the file's stem."""
    fold: str
    split: str
    cluster: int
    geobox: GeoBox
    """The chip's pixel grid; rows × columns are the shape of its image."""
    recipe: str
    """SHA-256 of everything that decides the pixels, see ``recipe_digest``: the data version."""
    scene_ids: tuple[str, ...]
    start: dt.datetime
    """First solar day of its scenes, or of the dates asked where it has none; in UTC."""
    end: dt.datetime
    """Last solar day, as ``start``."""

    def __post_init__(self) -> None:
        for field in ("chip_id", "fold", "split"):
            if not _NAME.fullmatch(value := getattr(self, field)):
                raise StorageError(
                    f"chip {self.chip_id!r}: {field} {value!r} cannot name a file; allowed are "
                    "letters, digits and '_.-', a letter or digit first, 200 at most"
                )
        if not _SHA256.fullmatch(self.recipe):
            raise StorageError(
                f"chip {self.chip_id!r}: recipe {self.recipe!r} is not 64 hexadecimal digits"
            )
        if self.start.utcoffset() is None or self.end.utcoffset() is None or self.end < self.start:
            raise StorageError(
                f"chip {self.chip_id!r}: start {self.start} and end {self.end} must carry a time "
                "zone and be in order"
            )


@dataclass(frozen=True, eq=False)
class ChipPixels:
    """The pixels of one chip.

    Raises:
        StorageError: The two arrays do not lie on one grid.
    """

    data: npt.NDArray[Any]
    """(band, y, x); the label band last when there is one. Where nothing is valid the image bands
    hold the fill of their dtype: 0 in unsigned, -32768 in int16, NaN in floating point."""
    valid: npt.NDArray[np.bool_]
    """(y, x); True where the image bands hold a datum. Labels may lie outside of it."""

    def __post_init__(self) -> None:
        if (
            self.data.ndim != 3
            or self.data.shape[1:] != self.valid.shape
            or self.valid.dtype != bool
        ):
            raise StorageError(
                f"chip pixels of shape {self.data.shape} with validity of shape "
                f"{self.valid.shape}, {self.valid.dtype}: (band, y, x) and boolean (y, x) wanted"
            )


@dataclass(frozen=True)
class NoImagery:
    """The answer that there is nothing to see in a chip's window."""

    reason: str


@dataclass(frozen=True)
class ChipOutcome:
    """How asking for a chip ended."""

    status: ChipStatus
    attempts: int
    """How often the chip was asked for under its current recipe."""
    updated: dt.datetime
    """When the outcome was found, in UTC."""
    size: int | None = None
    """Bytes of the file; None unless ``ok``."""
    checksum: str | None = None
    """Multihash of its bytes, hexadecimal; None unless ``ok``."""
    valid_fraction: float | None = None
    """Share of pixels with a datum, 0 to 1; None when ``failed``."""
    label_fraction: float | None = None
    """Share of pixels with a class, 0 to 1; None without pixels or without a label band."""
    error_kind: ErrorKind | None = None
    """Whether asking again can help; None unless ``failed``."""
    error: str | None = None
    """Why there are no pixels, without absolute paths and secrets; None when ``ok``."""


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a recipe's canonical JSON (sorted keys, no blanks, UTF-8).

    Args:
        recipe: Everything that decides the pixels, made of JSON's own types.

    Raises:
        StorageError: A value is an absolute path, which would make the version of the same data
            differ between two machines, or is none of JSON's types.
    """
    for where, text in _texts(recipe, "recipe"):
        if _ABSOLUTE_PATH.match(text):
            raise StorageError(
                f"{where}: {text!r} is an absolute path; a recipe holds names and checksums, "
                "which are the same on every machine"
            )
    try:
        canonical = json.dumps(
            recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise StorageError(f"recipe: cannot be written as JSON: {error}") from error
    return hashlib.sha256(canonical.encode()).hexdigest()


def _texts(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise StorageError(f"{where}: key {key!r} is not a string")
            yield where, key
            yield from _texts(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _texts(item, f"{where}[{position}]")
