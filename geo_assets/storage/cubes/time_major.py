"""The time-major copy of a cube: whole series lie together, so that one of them is read at once.

The cube itself is laid out date by date, which a map and an append want. The copy lies beside it,
plain Zarr whatever the cube's store, and says of which state of the cube it is.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from geo_assets.core.workers import Threads
from geo_assets.errors import StorageError
from geo_assets.storage.cubes.days import CHECKSUM_ATTRIBUTE
from geo_assets.storage.cubes.export import copy_store
from geo_assets.storage.cubes.format import chunk_slices, codec, create_variable, variable_of
from geo_assets.storage.cubes.icechunk_cube import damage
from geo_assets.storage.cubes.opening import open_cube, open_group

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from geo_assets.storage.cubes.format import Index3

SUFFIX = ".time-major.zarr"
SOURCE_ATTRIBUTE = "geo_assets_source_sha256"
"""Digest of the cube that the copy was made of: all that it says of itself, its values among it."""

INNER_EDGE = 64
"""Pixels a side of the smallest block that is read."""

MOST_FILES = 1024
"""Blocks of a variable that lie in a file each: found at once, where one of a shard is looked up in
its index first, which takes half as long again. More of them are put together in shards."""

_TASK_BYTES = 128 * 1024**2
"""Values that are in memory at a time for each thread, and of one shard, at most."""


def time_major_of(cube: Path) -> Path:
    """Return where the time-major copy of a cube lies."""
    return cube.with_name(cube.stem + SUFFIX)


def compact_cube(cube: Path, *, force: bool = False) -> tuple[Path, bool]:
    """Make the time-major copy of a cube, unless it is there and of the cube's state.

    Args:
        cube: The cube, in either store.
        force: Make it whatever is there.

    Returns:
        Where it lies, and whether it was made.

    Raises:
        StorageError: If the cube is absent, damaged or none of ours.
    """
    group = open_group(cube, asset="ndvi_cube")
    state = _state(group, cube)
    target = time_major_of(cube)
    if not force and _source_of(target) == state:
        return target, False
    copy_store(cube, group, target, {SOURCE_ATTRIBUTE: state}, _copy_variable)
    return target, True


def open_time_major(cube: Path | str, *, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """Open the time-major copy of a cube, as ``open_cube`` opens the cube.

    Raises:
        StorageError: If there is none, or the cube has changed since.
    """
    cube = Path(cube)
    target = time_major_of(cube)
    state = _state(open_group(cube, asset="ndvi_cube"), cube)
    there = _source_of(target)
    if there != state:
        what = "is of an earlier state of the cube" if there else "does not exist"
        raise StorageError(f"{target}: {what}; run geo-assets compact")
    return open_cube(target, chunks=chunks)


def _copy_variable(source: zarr.Array[Any], copy: zarr.Group) -> None:
    shape = (source.shape[0], source.shape[1], source.shape[2])
    inner, outer = _blocks(shape, source.dtype.itemsize)
    files = math.prod(-(-size // side) for size, side in zip(shape[1:], inner[1:], strict=True))
    shards = outer if files > MOST_FILES else None
    target = create_variable(
        copy, variable_of(source), shape, chunks=inner, shards=shards, compressor=codec("lz4")
    )

    def move(block: Index3) -> None:
        # Date by date: an array of them all at once would be assembled chunk after chunk anyway,
        # but in Zarr's own order of tasks.
        target[block] = np.stack(
            [np.asarray(source[t, block[1], block[2]]) for t in range(shape[0])]
        )

    # A shard is written by one task, whole: in parts it would be read again for each.
    blocks = chunk_slices(shape, outer) if shape[0] else []
    for _ in Threads().map(move, blocks):
        pass


def _blocks(
    shape: tuple[int, int, int], itemsize: int
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return what is read at once, and what is written by one task: of few dates more pixels."""
    dates = max(shape[0], 1)
    inner = min(INNER_EDGE, *(max(size, 1) for size in shape[1:]))
    edge = 1024
    while edge > INNER_EDGE and dates * edge * edge * itemsize > _TASK_BYTES:
        edge //= 2
    rows, cols = (min(edge, -(-max(size, 1) // inner) * inner) for size in shape[1:])
    rows, cols = (side // inner * inner for side in (rows, cols))
    return (dates, inner, inner), (dates, rows, cols)


def _state(group: zarr.Group, cube: Path) -> str:
    """Digest of a cube's attributes: checksum of its values, days, rules, grid, licence."""
    said = dict(group.attrs)
    if CHECKSUM_ATTRIBUTE not in said:
        raise StorageError(f"{cube}: says no checksum of its values; materialize ndvi_cube again")
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _source_of(target: Path) -> str | None:
    """Which state of the cube a copy is of; None if there is no copy that can be read."""
    try:
        said = zarr.open_group(target, mode="r").attrs.get(SOURCE_ATTRIBUTE)
    except damage():
        return None
    return said if isinstance(said, str) else None
