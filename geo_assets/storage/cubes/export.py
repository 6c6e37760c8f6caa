"""A cube copied to a plain Zarr store elsewhere, whichever the store it lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from geo_assets.core.workers import Threads
from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish_directory, sweep_temporaries_of
from geo_assets.storage.cubes.days import array_of
from geo_assets.storage.cubes.format import (
    COORDINATES,
    chunk_slices,
    create_variable,
    variable_of,
)
from geo_assets.storage.cubes.opening import consolidate, open_group
from geo_assets.storage.cubes.soundness import check_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from geo_assets.storage.cubes.format import Index3


def export_store(cube: Path, to: Path, attributes: Mapping[str, Any], *, force: bool) -> None:
    """Publish a copy of a cube as plain Zarr that ``xarray.open_zarr(to)`` opens.

    Args:
        cube: The cube, in either store.
        to: Where the copy goes; what lies there is exchanged in one step.
        attributes: Attributes beside those of the cube: whence it comes.
        force: Whether what lies at ``to`` may be replaced.

    Raises:
        StorageError: If something lies at ``to`` and may not be replaced, or is no Zarr store; or
            the cube is absent or damaged.
    """
    if to.exists():
        if not force:
            raise StorageError(f"{to}: exists; say --force to replace it")
        if not (to / "zarr.json").is_file():
            raise StorageError(f"{to}: is no Zarr store, so it is not replaced, even by --force")
    copy_store(cube, open_group(cube, asset="ndvi_cube"), to, attributes, _copy_variable)


def copy_store(
    cube: Path,
    group: zarr.Group,
    to: Path,
    attributes: Mapping[str, Any],
    copy_variable: Callable[[zarr.Array[Any], zarr.Group], None],
) -> None:
    """Publish a copy of a cube as plain Zarr, in a layout of its own.

    Args:
        cube: Where the cube lies, for messages.
        group: The cube, opened.
        to: Where the copy goes; what lies there is exchanged in one step.
        attributes: Attributes beside those of the cube.
        copy_variable: Lays a variable (time, y, x) in the group that it is given.

    Raises:
        StorageError: If the cube is damaged.
    """
    check_sound(cube, group)
    # A copy that was killed is as large as the cube, and nobody else would look for it here.
    sweep_temporaries_of(to)
    with publish_directory(to) as folder:
        copy = zarr.create_group(folder, zarr_format=3, attributes={**group.attrs, **attributes})
        for name in sorted(group.array_keys()):
            copy_array = _copy_coordinate if name in COORDINATES else copy_variable
            copy_array(array_of(group, name), copy)
        consolidate(folder)


def _copy_coordinate(source: zarr.Array[Any], copy: zarr.Group) -> None:
    copy.create_array(
        source.basename,
        data=np.asarray(source[...]),
        chunks=source.chunks or "auto",
        compressors=source.compressors,
        fill_value=source.fill_value,
        dimension_names=source.metadata.dimension_names,  # type: ignore[union-attr]  # Zarr v3
        attributes=dict(source.attrs),
    )


def _copy_variable(source: zarr.Array[Any], copy: zarr.Group) -> None:
    shape = (source.shape[0], source.shape[1], source.shape[2])
    target = create_variable(copy, variable_of(source), shape)

    def move(chunk: Index3) -> None:
        target[chunk] = source[chunk]

    for _ in Threads().map(move, chunk_slices(shape, target.chunks)):
        pass
