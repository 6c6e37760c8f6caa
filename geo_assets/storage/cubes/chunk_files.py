"""Chunks of plain Zarr v3 arrays written as files: the bytes that Zarr would write, sooner.

Through Zarr's own pipeline a chunk costs twice what its compression does (tasks of an event loop,
copies). What is written here is what ``format.create_variable`` declares, no more; a test
compares every byte with Zarr's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import Blosc  # type: ignore[import-untyped]  # ships no types

from geo_assets.storage.atomic import write_early

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from geo_assets.storage.cubes.format import CubeVariable

BLOCK_BYTES = 1024**2
"""Bytes that Blosc compresses at once: half a chunk of int16. Its own choice, 32 KiB, takes twice
the time to write and to read, and is larger; for each chunk it takes memory of three such blocks,
which in a young process costs more than to decode."""

_BLOSC = Blosc(cname="zstd", clevel=1, shuffle=Blosc.BITSHUFFLE, blocksize=BLOCK_BYTES)


def write_chunk_file(
    folder: Path,
    variable: CubeVariable,
    place: tuple[int, int, int],
    values: NDArray[Any],
    edges: tuple[int, int],
) -> None:
    """Write one chunk of one date; one that holds nothing is not written, as Zarr has it.

    Args:
        folder: The array's folder, in a store that nobody reads yet.
        variable: What the array holds.
        place: Number of the chunk along time, y and x.
        values: (y, x); at the far edges smaller than a chunk, and then padded with no datum.
        edges: Rows and columns of a whole chunk.
    """
    data = values
    if values.shape != edges:
        data = np.full(edges, variable.fill, variable.dtype)
        data[: values.shape[0], : values.shape[1]] = values
    if _is_empty(values[:1], variable) and _is_empty(values, variable):
        return
    little = np.ascontiguousarray(data, np.dtype(variable.dtype).newbyteorder("<"))
    path = folder.joinpath("c", *map(str, place))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_early(path, _BLOSC.encode(little))


def _is_empty(values: NDArray[Any], variable: CubeVariable) -> bool:
    missing = np.isnan(values) if values.dtype.kind == "f" else values == variable.fill
    return bool(missing.all())
