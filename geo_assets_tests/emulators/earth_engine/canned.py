"""Answers that cost the server next to nothing, for benchmarks and storms.

No raster stands behind them: ``StaticPixels`` is always the same payload, ``LatticePixels`` a
hash of row, column and band, so that a chip of another place or of mixed-up bands shows in
nearly every pixel.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Window = tuple[int, int, int, int]
"""Row, column, height, width on the lattice, as ``requests.lattice_window`` gives them."""

VALID = "valid"
"""Name of the band that says where pixels have a datum; here everywhere."""


@dataclass(frozen=True)
class StaticPixels:
    """One NPY payload for every request, made once."""

    height: int = 256
    width: int = 256
    bands: tuple[str, ...] = ("B2", "B3", "B4", "B8", VALID)
    dtype: str = "uint16"

    @cached_property
    def payload(self) -> bytes:
        """The bytes of every answer."""
        return npy(lattice_record((0, 0, self.height, self.width), self.bands, self.dtype))


@dataclass(frozen=True)
class LatticePixels:
    """Pixels as a function of where they lie on the requested lattice."""

    bands: tuple[str, ...] | None = None
    """None: the expression's own, which needs assets; ``bandIds`` of a request come first."""
    dtype: str = "uint16"

    def payload(self, window: Window, bands: Sequence[str] | None = None) -> bytes:
        """Return the NPY of a window (row, column, height, width)."""
        names = bands or self.bands
        if not names:
            raise ValueError("bands: neither the request nor the server names any")
        return npy(lattice_record(window, names, self.dtype))


def lattice_values(window: Window, band: int, dtype: str) -> NDArray[Any]:
    """Return the values (y, x) of the ``band``-th band from 0 in a window of the lattice.

    Integers fill their type's positive range; floating point lies in [0, 1).
    """
    row, column, height, width = window
    rows = np.arange(row, row + height, dtype=np.int64).astype(np.uint32)[:, None]
    columns = np.arange(column, column + width, dtype=np.int64).astype(np.uint32)[None, :]
    seed = np.uint32((band + 1) * 0x9E3779B1 & 0xFFFFFFFF)
    mixed = (rows * np.uint32(0x85EBCA6B)) ^ (columns * np.uint32(0xC2B2AE35)) ^ seed
    # The last steps of MurmurHash3 spread each bit over all.
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x7FEB352D)
    mixed ^= mixed >> np.uint32(15)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return ((mixed >> np.uint32(8)) / 2**24).astype(kind)
    return (mixed & np.uint32(min(int(np.iinfo(kind).max), 0xFFFFFFFF))).astype(kind)


def lattice_record(window: Window, bands: Sequence[str], dtype: str) -> NDArray[np.void]:
    """Return a window as the service does: an array of records, one field a band."""
    record = np.empty(window[2:], [(name, dtype) for name in bands])
    for number, name in enumerate(bands):
        record[name] = 1 if name == VALID else lattice_values(window, number, dtype)
    return record


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as the bytes of an NPY file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
