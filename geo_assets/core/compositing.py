"""A stack of observations becomes one image, in blocks and threads.

What is done in a block is a ``Reducer``: ``reducers`` and ``observation_choice`` hold those that a
campaign can name. Reading, cloud masks and the fusion of solar days come before and live elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core import reducers
from geo_assets.core.observation_choice import medoid
from geo_assets.core.strips import map_strips
from geo_assets.core.workers import Threads
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from geo_assets.core.reducers import Reducer

_BLOCK_BYTES = 16 * 2**20
"""Bytes of input that are reduced at once: temporaries are a few times this."""

_STRIPS_EACH = 8
"""Strips of an image that each thread has; more would take longer to hand out than they even."""


def fill_value(dtype: np.dtype[Any]) -> float:
    """Return what pixels without datum hold: 0 unsigned, the least of signed integers, else NaN."""
    if dtype.kind == "u":
        return 0
    return int(np.iinfo(dtype).min) if dtype.kind == "i" else float("nan")


REDUCERS: Mapping[str, Reducer] = {
    "median": reducers.median,
    "mean": reducers.mean,
    "min": reducers.minimum,
    "max": reducers.maximum,
    "medoid": medoid,
}
"""Reducers that need nothing but their name, by the names that campaigns use; ``Percentile`` and
``MaxNdvi`` want to be told more."""


def reduce_stack(
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    reducer: str | Reducer = "median",
    dtype: DTypeLike | None = None,
    *,
    threads: int | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Reduce a stack of observations along time, in blocks of rows.

    Args:
        data: (time, band, y, x), unsigned or signed integers of at most 32 bits, or float.
        valid: (time, y, x) bool, True where every band holds a datum. What ``data`` holds
            elsewhere does not matter.
        reducer: A name of ``REDUCERS``, or a reducer.
        dtype: dtype of the image; None: that of the data. Integers can also become float32 or
            float64; nothing else is converted.
        threads: How many work at once; None: one for each processor. They change no value.

    Returns:
        Image (band, y, x): without datum 0 (unsigned), the least value (signed), NaN (float);
        valid (y, x) bool, True with at least one valid observation.

    Raises:
        GeoAssetsError: If the reducer is unknown, the dtype is not allowed, shapes do not fit, or
            a pixel marked valid is NaN.
    """
    reduce_block = _reducer(reducer)
    out_dtype = _checked_dtype(data.dtype, None if dtype is None else np.dtype(dtype))
    times, bands, rows, cols = _checked_shape(data, valid)
    plain = data.flags.c_contiguous and out_dtype == data.dtype
    if plain and reduce_block is reducers.median and reducers.has_network(data):
        # Without a copy of a single block: what it costs is to read the stack once.
        return _median_in_place(data, np.ascontiguousarray(valid), threads)
    image = np.full((bands, rows, cols), fill_value(out_dtype), out_dtype)
    seen: NDArray[np.bool_] = np.any(valid, axis=0)
    if times == 0:
        return image, seen
    row_bytes = times * bands * cols * data.dtype.itemsize
    step = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    blocks = [slice(top, min(top + step, rows)) for top in range(0, rows, step)]

    def work(block: slice) -> None:
        _reduce_rows(reduce_block, data[:, :, block], valid[:, block], block, image[:, block])

    if len(blocks) == 1 or threads == 1:
        for block in blocks:
            work(block)
    else:
        for _ in Threads(threads).map(work, blocks):
            pass
    return image, seen


def _reduce_rows(
    reduce_block: Reducer,
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    rows: slice,
    image: NDArray[Any],
) -> None:
    """Fill some rows of the image where something was seen."""
    seen = valid.any(axis=0)
    if not seen.any():
        return
    if data.dtype.kind == "f" and (np.isnan(data).any(axis=1) & valid).any():
        msg = f"data: NaN in rows {rows.start} to {rows.stop - 1} where valid is True"
        raise GeoAssetsError(msg)
    np.copyto(image, reduce_block(data, valid, image.dtype), where=seen)


def _median_in_place(
    data: NDArray[Any], valid: NDArray[np.bool_], threads: int | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return what ``reduce_stack`` returns, for C-contiguous small integers."""
    from geo_assets.core.kernels.median import median_of_pixels

    times, bands, rows, cols = data.shape
    image = np.empty((bands, rows * cols), data.dtype)
    seen = np.empty(rows * cols, bool)
    flat, known = data.reshape(times, bands, -1), valid.reshape(times, -1)
    fill = int(fill_value(data.dtype))

    def work(start: int, stop: int) -> None:
        median_of_pixels(flat, known, (start, stop), fill=fill, out=image, seen=seen)

    map_strips(work, rows * cols, threads=threads, each=_STRIPS_EACH)
    return image.reshape(bands, rows, cols), seen.reshape(rows, cols)


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
