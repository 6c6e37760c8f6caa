"""Reducers over time: functions that make one image of a block of observations.

Here are those that treat each band by itself. Those that take all bands of a pixel from one
observation are in ``observation_choice``; how a stack is cut into blocks is in ``compositing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGEST_NETWORK = 512
"""Times above which numpy's sort beats a network of comparators, which grows faster."""


class Reducer(Protocol):
    """Reduces a block of observations along time.

    It gets data (time, band, y, x) and valid (time, y, x) with at least one time and returns
    (band, y, x) in ``dtype``; pixels without a valid observation may hold anything. It may use all
    bands of an observation together and must treat every pixel by itself.
    """

    def __call__(
        self, data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Reduce one block."""


def median(data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Median over time, see ``Reducer``; halves of an integer dtype are rounded half to even."""
    if has_network(data):
        return _network_median(data, valid, dtype)
    stack, count = _sorted(data, valid)
    low = _pick(stack, (count - 1) // 2)
    high = _pick(stack, count // 2)
    middle: NDArray[Any]
    if dtype.kind == "f":
        middle = (low.astype(np.float64) + high) / 2
    else:
        total = low.astype(np.int64) + high
        middle = total >> 1
        middle += total & middle & 1
    return middle.astype(dtype)


def has_network(data: NDArray[Any]) -> bool:
    """Whether the median of these observations is had by ``kernels.median``."""
    from geo_assets.core.kernels.median import DTYPES

    return data.dtype.name in DTYPES and 0 < len(data) <= _LONGEST_NETWORK


def mean(data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Mean over time, see ``Reducer``; for an integer dtype rounded half to even."""
    wide = np.int64 if data.dtype.kind in "ui" else np.float64
    total = data.sum(axis=0, dtype=wide, where=valid[:, np.newaxis])
    average: NDArray[np.float64] = total / np.maximum(valid.sum(axis=0), 1)
    return (average if dtype.kind == "f" else np.rint(average)).astype(dtype)


def minimum(data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Least value over time, see ``Reducer``."""
    least: NDArray[Any] = data.min(
        axis=0, initial=_greatest(data.dtype), where=valid[:, np.newaxis]
    )
    return least.astype(dtype)


def maximum(data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Greatest value over time, see ``Reducer``."""
    greatest: NDArray[Any] = data.max(
        axis=0, initial=_least(data.dtype), where=valid[:, np.newaxis]
    )
    return greatest.astype(dtype)


@dataclass(frozen=True)
class Percentile:
    """A percentile over time (``Reducer``), linear between the two nearest observations.

    The method is numpy's default, R-7 of Hyndman and Fan (Sample quantiles in statistical
    packages, The American Statistician 50, 1996). For an integer dtype it is rounded half to even.

    Attributes:
        percent: Which one, 0 (the least value) to 100 (the greatest).
    """

    percent: float

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise GeoAssetsError(f"percentile: {self.percent}; allowed: 0 to 100")

    def __call__(
        self, data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Reduce one block, see ``Reducer``."""
        stack, count = _sorted(data, valid)
        place = np.maximum(count - 1, 0) * (self.percent / 100)
        below = np.floor(place).astype(np.intp)
        low = _pick(stack, below).astype(np.float64)
        high = _pick(stack, np.minimum(below + 1, np.maximum(count - 1, 0))).astype(np.float64)
        part = place - below
        with np.errstate(invalid="ignore"):  # infinite where nothing is valid
            rise = high - low
            # From the nearer end, as numpy does it: the two ends come out exactly.
            between = np.where(part < 0.5, low + rise * part, high - rise * (1 - part))
        return (between if dtype.kind == "f" else np.rint(between)).astype(dtype)


def _network_median(
    data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]
) -> NDArray[Any]:
    from geo_assets.core.kernels.median import median_of_pixels

    times, bands, rows, cols = data.shape
    exact = data.dtype if dtype == data.dtype else np.dtype(np.int32)
    image = np.empty((bands, rows * cols), exact)
    median_of_pixels(
        np.ascontiguousarray(data).reshape(times, bands, -1),
        np.ascontiguousarray(valid).reshape(times, -1),
        (0, rows * cols),
        fill=0,
        out=image,
        seen=np.empty(rows * cols, bool),
    )
    middle: NDArray[Any] = image if dtype == data.dtype else image / 2
    return middle.astype(dtype, copy=False).reshape(bands, rows, cols)


def _sorted(data: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return data (band, y, x, time) sorted along time, invalid last, and the number of valid."""
    # Time last: numpy sorts short contiguous runs several times faster than strided ones.
    stack = np.array(np.moveaxis(data, 0, -1), order="C", copy=True)
    known = np.moveaxis(valid, 0, -1)
    # A datum that equals the padding cannot be told from it once sorted, which is harmless:
    # picking by count gives the same number either way.
    np.copyto(stack, _greatest(data.dtype), where=~known)
    stack.sort(axis=-1)
    return stack, known.sum(axis=-1)


def _pick(stack: NDArray[Any], index: NDArray[np.intp]) -> NDArray[Any]:
    """Pick from a stack (band, y, x, time) the element at an index (y, x) of every pixel."""
    where = np.maximum(index, 0)[np.newaxis, ..., np.newaxis]
    picked: NDArray[Any] = np.take_along_axis(stack, where, axis=-1)[..., 0]
    return picked


def _greatest(dtype: np.dtype[Any]) -> float:
    return int(np.iinfo(dtype).max) if dtype.kind in "ui" else float("inf")


def _least(dtype: np.dtype[Any]) -> float:
    return int(np.iinfo(dtype).min) if dtype.kind in "ui" else float("-inf")
