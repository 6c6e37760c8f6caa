"""Reducers over time: a stack of observations becomes one image.

A reducer is anything that satisfies ``Reducer``; the registry holds those a campaign can name.
Reading, cloud masks and the fusion of solar days come before and live elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

_BLOCK_BYTES = 16 * 2**20
"""Bytes of input that are reduced at once: temporaries are a few times this."""


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


def fill_value(dtype: np.dtype[Any]) -> float:
    """Return what pixels without datum hold: 0 unsigned, the least of signed integers, else NaN."""
    if dtype.kind == "u":
        return 0
    return int(np.iinfo(dtype).min) if dtype.kind == "i" else float("nan")


def median(data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Median over time, see ``Reducer``; halves of an integer dtype are rounded half to even."""
    # Time last: numpy sorts short contiguous runs several times faster than strided ones.
    stack = np.ascontiguousarray(np.moveaxis(data, 0, -1))
    known = np.moveaxis(valid, 0, -1)
    count = known.sum(axis=-1)
    # Invalid observations sort to the end. A datum that equals the padding cannot be told from it
    # once sorted, which is harmless: picking by count gives the same number either way.
    np.copyto(stack, _greatest(data.dtype), where=~known)
    stack.sort(axis=-1)
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


REDUCERS: Mapping[str, Reducer] = {
    "median": median,
    "mean": mean,
    "min": minimum,
    "max": maximum,
}
"""Reducers by the names that campaigns use."""


def reduce_stack(
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    reducer: str | Reducer = "median",
    dtype: DTypeLike | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint16]]:
    """Reduce a stack of observations along time, in blocks of rows.

    Args:
        data: (time, band, y, x), unsigned or signed integers of at most 32 bits, or float.
        valid: (time, y, x) bool, True where every band holds a datum. What ``data`` holds
            elsewhere does not matter.
        reducer: A name of ``REDUCERS``, or a reducer.
        dtype: dtype of the image; None: that of the data. Integers can also become float32 or
            float64; nothing else is converted.

    Returns:
        Image (band, y, x): without datum 0 (unsigned), the least value (signed), NaN (float);
        valid (y, x) bool, True with at least one valid observation; observations (y, x) uint16,
        the number of them.

    Raises:
        GeoAssetsError: If the reducer is unknown, the dtype is not allowed, shapes do not fit, or
            a pixel marked valid is NaN.
    """
    reduce_block = _reducer(reducer)
    out_dtype = _checked_dtype(data.dtype, None if dtype is None else np.dtype(dtype))
    times, bands, rows, cols = _checked_shape(data, valid)
    image = np.full((bands, rows, cols), fill_value(out_dtype), out_dtype)
    observations = valid.sum(axis=0, dtype=np.uint16)
    seen = observations > 0
    if times == 0:
        return image, seen, observations
    row_bytes = times * bands * cols * data.dtype.itemsize
    step = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    for top in range(0, rows, step):
        block = slice(top, top + step)
        if not seen[block].any():
            continue
        part, mask = data[:, :, block], valid[:, block]
        if data.dtype.kind == "f" and (np.isnan(part).any(axis=1) & mask).any():
            msg = f"data: NaN in rows {top} to {min(top + step, rows) - 1} where valid is True"
            raise GeoAssetsError(msg)
        np.copyto(image[:, block], reduce_block(part, mask, out_dtype), where=seen[block])
    return image, seen, observations


def _reducer(reducer: str | Reducer) -> Reducer:
    if not isinstance(reducer, str):
        return reducer
    if reducer not in REDUCERS:
        msg = f"reducer: {reducer!r} is unknown; allowed: {', '.join(REDUCERS)}"
        raise GeoAssetsError(msg)
    return REDUCERS[reducer]


def _checked_dtype(given: np.dtype[Any], wanted: np.dtype[Any] | None) -> np.dtype[Any]:
    """Return the image's dtype, or say why it cannot be had."""
    # Sums of 64-bit integers could overflow; no sensor delivers them.
    if given.kind not in "uif" or (given.kind in "ui" and given.itemsize > 4):
        msg = f"data: dtype {given}; allowed: integers of at most 32 bits, or float"
        raise GeoAssetsError(msg)
    if wanted is None or wanted == given:
        return given
    if wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
        msg = f"dtype: {wanted} from {given}; allowed: {given}, float32, float64"
        raise GeoAssetsError(msg)
    return wanted


def _checked_shape(data: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    if data.ndim != 4 or valid.shape != (data.shape[0], *data.shape[2:]):
        msg = (
            f"shapes: data {data.shape}, valid {valid.shape}; "
            "needed: (time, band, y, x) and (time, y, x)"
        )
        raise GeoAssetsError(msg)
    if len(data) > np.iinfo(np.uint16).max:
        msg = f"data: {len(data)} times; allowed: at most {np.iinfo(np.uint16).max}"
        raise GeoAssetsError(msg)
    times, bands, rows, cols = data.shape
    return times, bands, rows, cols


def _pick(stack: NDArray[Any], index: NDArray[np.intp]) -> NDArray[Any]:
    """Pick from a stack (band, y, x, time) the element at an index (y, x) of every pixel."""
    where = np.maximum(index, 0)[np.newaxis, ..., np.newaxis]
    picked: NDArray[Any] = np.take_along_axis(stack, where, axis=-1)[..., 0]
    return picked


def _greatest(dtype: np.dtype[Any]) -> float:
    return int(np.iinfo(dtype).max) if dtype.kind in "ui" else float("inf")


def _least(dtype: np.dtype[Any]) -> float:
    return int(np.iinfo(dtype).min) if dtype.kind in "ui" else float("-inf")
