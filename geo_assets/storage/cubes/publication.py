"""A cube with days added, changed or removed, published as one step, whichever its store.

Days that stay are never decoded: a plain store is made anew from links to their chunks; in an
Icechunk repository those before the first change are not touched at all.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from xxhash import xxh3_128

from geo_assets.core.index_catalogue import SMOOTHED
from geo_assets.core.indices import dequantise_index, quantise_in_range
from geo_assets.core.smoothing import smooth_series
from geo_assets.core.workers import Threads
from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish_directory
from geo_assets.storage.cubes.chunk_files import chunk_digest
from geo_assets.storage.cubes.days import (
    StoredDay,
    array_of,
    days_of,
    kept_days,
    times_of,
)
from geo_assets.storage.cubes.format import (
    check_grid,
    chunk_slices,
    create_variable,
    write_coordinates,
)
from geo_assets.storage.cubes.icechunk_cube import (
    BRANCH,
    SUFFIX,
    create_repository,
    damage,
    is_repository,
    open_repository,
    writing_alone,
)
from geo_assets.storage.cubes.opening import consolidate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geo_assets.storage.cubes.days import CubeHead
    from geo_assets.storage.cubes.format import CubeVariable, Index3
    from geo_assets.storage.cubes.stage import Stage

_VALUES_AT_ONCE = 2**21
"""Values of a chunk, of all dates, that are smoothed at once: bounds memory, not results."""


@dataclass(frozen=True)
class Changes:
    """What becomes of the days of a cube.

    Attributes:
        days: Days that are new or other than before.
        slots: Where on the stage those of them lie that have a place in the cube.
        gone: Days that are taken away.
        afresh: Whether what lies there is damaged beyond its days: nothing of it is read or kept.
        damaged: Days that stay though their values are not those that were written. What of them
            cannot be decoded is missing wherever they have to be; they are known by their digest.
    """

    days: Mapping[str, StoredDay]
    slots: Mapping[str, int]
    gone: Collection[str] = field(default_factory=tuple)
    afresh: bool = False
    damaged: Collection[str] = field(default_factory=tuple)

    def applied(self, known: Mapping[str, StoredDay] | None) -> dict[str, StoredDay]:
        """Return all days after the changes; None: nothing known is kept."""
        stay = {day: said for day, said in (known or {}).items() if day not in self.gone}
        return dict(sorted((stay | dict(self.days)).items()))


@dataclass(frozen=True)
class _Move:
    """Where the values of one day of the new time axis come from."""

    position: int | None
    """On the old time axis; None: they come from the stage."""
    slot: int | None
    damaged: bool


def publish_changes(path: Path, head: CubeHead, changes: Changes, stage: Stage) -> str | None:
    """Publish a cube with some days changed, all or nothing.

    What is changed is the cube that lies there at that moment; one of other rules is replaced.

    Args:
        path: Where the cube lies or will lie: Icechunk by its suffix, else plain Zarr.
        head: What holds for all days.
        changes: Days to put and to take away.
        stage: Holds the values of the days to put; plain Zarr takes them from there, even if it
            fails.

    Returns:
        The snapshot's id of an Icechunk repository, else None.

    Raises:
        StorageError: If the grid is no cube's, or Icechunk is not installed.
    """
    check_grid(path, head.geobox)
    if path.suffix == SUFFIX:
        with writing_alone(path):
            return _commit(path, head, changes, stage)
    _replace(path, head, changes, stage)
    return None


def _replace(path: Path, head: CubeHead, changes: Changes, stage: Stage) -> None:
    there = (path / "zarr.json").is_file() and not changes.afresh
    known = days_of(zarr.open_group(path, mode="r"), head.rules) if there else None
    days = changes.applied(known)
    names, moves = _moves(days, known, changes)
    variables = head.variables_of(days)
    with publish_directory(path) as folder:
        group = zarr.create_group(folder, zarr_format=3)
        for variable in variables:
            create_variable(group, variable, (len(names), *head.geobox.shape))
            chunks = folder / variable.name / "c"
            for position, move in enumerate(moves):
                target = chunks / str(position)
                if move.slot is None:
                    _link_folder(path / variable.name / "c" / str(move.position), target)
                else:
                    stage.move_chunks(variable.name, move.slot, target)
        digest = _write_smoothed(group, head, variables, names, changes.damaged)
        write_coordinates(group, times_of(names), head.geobox)
        group.update_attributes(head.attributes_of(days, digest))
        consolidate(folder)


def _commit(path: Path, head: CubeHead, changes: Changes, stage: Stage) -> str:
    if changes.afresh or not is_repository(path):
        # The first snapshot is published whole: no reader meets a repository without a cube.
        with publish_directory(path) as folder:
            session = create_repository(folder).writable_session(BRANCH)
            names = _fill(session.store, None, head, changes, stage)
            return str(session.commit(_message(names)))
    repository = open_repository(path)
    session = repository.writable_session(BRANCH)
    # Values that move are read as they were, whatever was written over them.
    past = repository.readonly_session(snapshot_id=session.snapshot_id)
    before = zarr.open_group(past.store, mode="r")
    names = _fill(session.store, before, head, changes, stage)
    return str(session.commit(_message(names)))


def _fill(
    store: Any, before: zarr.Group | None, head: CubeHead, changes: Changes, stage: Stage
) -> list[str]:
    """Make the group of a session what it is to be; return the days on its time axis."""
    known = None if before is None else days_of(before, head.rules)
    days = changes.applied(known)
    names, moves = _moves(days, known, changes)
    variables = head.variables_of(days)
    shape = (len(names), *head.geobox.shape)
    fits = (
        before is not None
        and bool(kept_days(known or {}))
        and all(array_of(before, each.name).dtype == np.dtype(each.dtype) for each in variables)
    )
    group = (
        zarr.open_group(store, mode="a")
        if fits
        else zarr.create_group(store, zarr_format=3, overwrite=True)
    )
    for variable in variables:
        if fits:
            array = array_of(group, variable.name)
            array.resize(shape)
        else:
            array = create_variable(group, variable, shape)
        for position, move in enumerate(moves):
            if move.position == position:
                continue
            source = (
                array_of(before, variable.name)
                if before is not None and move.position is not None
                else stage.array(variable.name)
            )
            _copy_day(source, move, array, position)
    digest = _write_smoothed(group, head, variables, names, changes.damaged)
    write_coordinates(group, times_of(names), head.geobox, overwrite=True)
    group.attrs.put(head.attributes_of(days, digest))
    return names


def _moves(
    days: Mapping[str, StoredDay], known: Mapping[str, StoredDay] | None, changes: Changes
) -> tuple[list[str], list[_Move]]:
    """Return the days of the new time axis, and where each comes from."""
    positions = {day: number for number, day in enumerate(kept_days(known or {}))}
    names = kept_days(days)
    dtypes: dict[str, str] = {}
    for name in names:
        for variable, dtype in days[name].dtypes.items():
            if dtypes.setdefault(variable, dtype) != dtype:
                raise StorageError(
                    f"variable {variable!r}: is {dtype} on {name} and {dtypes[variable]} on other "
                    "days; a cube holds one dtype"
                )
    return names, [
        _Move(None, changes.slots[name], damaged=False)
        if name in changes.slots
        else _Move(positions[name], None, damaged=name in changes.damaged)
        for name in names
    ]


def _link_folder(source: Path, target: Path) -> None:
    """Give the chunks of one day another place; without chunks there is no folder."""
    if not source.is_dir():
        return
    # Files of a store are replaced, never changed in place: a link is as good as a copy.
    shutil.copytree(source, target, copy_function=_link)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        # A disk without links.
        shutil.copyfile(source, target)
    return target


def _copy_day(source: zarr.Array[Any], move: _Move, target: zarr.Array[Any], new: int) -> None:
    old = move.position if move.slot is None else move.slot
    assert old is not None  # noqa: S101  # a move says one of two places

    def copy(chunk: Index3) -> None:
        values = _values(source, (old, chunk[1], chunk[2]), damaged=move.damaged)
        target[new, chunk[1], chunk[2]] = values

    for _ in Threads().map(copy, chunk_slices((1, *target.shape[1:]), target.chunks)):
        pass


def _write_smoothed(
    group: zarr.Group,
    head: CubeHead,
    variables: tuple[CubeVariable, ...],
    names: list[str],
    damaged: Collection[str],
) -> str | None:
    """Write the smoothed copy of each index, from its stored values; return their digest."""
    smoothed = head.smoothed_of(variables)
    for name in [name for name in group if name.endswith(SMOOTHED)]:
        del group[name]
    if not smoothed:
        return None
    digest = xxh3_128()
    for variable in smoothed:
        source = array_of(group, variable.name.removesuffix(SMOOTHED))
        target = create_variable(group, variable, (len(names), *head.geobox.shape))
        chunks = chunk_slices((1, *source.shape[1:]), source.chunks)
        days = {name: name in damaged for name in names}
        one = partial(_smooth_chunk, head, source, target, days)
        for found in Threads().map(one, chunks):
            digest.update(f"{variable.name} {found}\n".encode())
    return digest.hexdigest()


def smoothed_digest(group: zarr.Group, names: Sequence[str]) -> str | None:
    """Return the digest of the smoothed variables of a cube; None if there are to be none.

    Args:
        group: The cube.
        names: Their names, in order; one that is not there counts too.
    """
    digest = xxh3_128()
    for name in names:
        array = array_of(group, name) if name in group else None
        chunks = [] if array is None else chunk_slices((1, *array.shape[1:]), array.chunks)
        for found in Threads().map(partial(_chunk_series_digest, array), chunks):
            digest.update(f"{name} {found}\n".encode())
    return digest.hexdigest() if names else None


def _chunk_series_digest(array: Any, chunk: Index3) -> str:
    try:
        return chunk_digest(np.asarray(array[:, chunk[1], chunk[2]])) if array.shape[0] else ""
    except damage():
        # However it is damaged, it can be made again of the stored days.
        return ""


def _smooth_chunk(
    head: CubeHead,
    source: zarr.Array[Any],
    target: zarr.Array[Any],
    days: Mapping[str, bool],
    chunk: Index3,
) -> str:
    """Smooth the series of one chunk; of each day it is told whether it is damaged."""
    assert head.smoothing is not None  # noqa: S101  # else nothing is smoothed
    _, rows, cols = chunk
    if not days:
        return ""
    times = times_of(days)
    stored = np.stack(
        [
            _values(source, (position, rows, cols), damaged=damaged)
            for position, damaged in enumerate(days.values())
        ]
    )
    values = np.empty_like(stored)
    height = max(_VALUES_AT_ONCE // (len(days) * stored.shape[2]), 1)
    for top in range(0, stored.shape[1], height):
        strip = slice(top, top + height)
        series = smooth_series(
            dequantise_index(stored[:, strip], np.float64), times, head.smoothing
        )
        values[:, strip], _ = quantise_in_range(series)
    for position, layer in enumerate(values):
        target[position, rows, cols] = layer
    return chunk_digest(values)


def _values(
    array: zarr.Array[Any], place: tuple[int, slice, slice], *, damaged: bool
) -> NDArray[Any]:
    """Return values (y, x) of one day; missing where those of a damaged one cannot be decoded."""
    try:
        return np.asarray(array[place])
    except damage():
        if not damaged:
            raise
        return np.full(
            [part.stop - part.start for part in place[1:]], array.fill_value, array.dtype
        )


def _message(names: list[str]) -> str:
    return f"{len(names)} days" + (f", {names[0]} to {names[-1]}" if names else "")
