"""Cubes on disk: found, opened, and written at once as plain Zarr v3 stores with CF attributes.

A cube is a plain Zarr store (``cluster-0.zarr``), written beside its place and exchanged with what
lies there (docs/decisions/0004-whole-store-publication-of-cubes.md), or an Icechunk repository
(``cluster-0.icechunk``), changed by transactions
(docs/decisions/0011-incremental-cubes.md). ``open_cube`` opens either.
"""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr

from geo_assets.core.indices import dequantise_index
from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish_directory
from geo_assets.storage.cubes.format import (
    CONVENTIONS,
    MISSING,
    SCALE,
    check_grid,
    create_variable,
    index_variable,
    write_chunks,
    write_coordinates,
)
from geo_assets.storage.cubes.icechunk_cube import damage, is_repository, latest_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.storage.layout import Layout

__all__ = ["MISSING", "SCALE", "open_cube", "open_group", "published_cubes", "write_cube"]

_NO_VALUE = np.empty((0, 0, 0), np.float32)
_CUBE = re.compile(r"(?P<name>cluster-(?P<cluster>[0-9]+)(-[0-9A-Z]+)?)\.(zarr|icechunk)")
_OF_CLUSTER = re.compile(r"\.?cluster-([0-9]+)[-.]")


def published_cubes(layout: Layout, fold: str, split: str) -> dict[str, Path]:
    """Return the cubes of a partition by name, by cluster and tile: ``cluster-0-33UUU``.

    Whichever the store. Not among them are time-major copies, which ``geo-assets compact`` makes.
    """
    folder = layout.ndvi_cubes(fold, split)
    found = [
        (int(match["cluster"]), match["name"], path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _CUBE.fullmatch(path.name)) and path.is_dir()
    ]
    return {name: path for _, name, path in sorted(found)}


def cluster_of(name: str) -> int:
    """Return the AOI cluster that a cube's name says: 0 for ``cluster-0`` and ``cluster-0-33UUU``.

    Raises:
        StorageError: If it is no cube's name.
    """
    match = _CUBE.fullmatch(f"{name}.zarr")
    if match is None:
        raise StorageError(f"{name!r} names no cube; cluster-0 or cluster-0-33UUU would")
    return int(match["cluster"])


def results_of_other_clusters(folder: Path, clusters: Collection[int]) -> list[Path]:
    """Return what lies in a folder of cubes but is of none of some clusters.

    Of a cluster are its cubes in either store, of each tile or of all, their locks and time-major
    copies.
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [(path, _OF_CLUSTER.match(path.name)) for path in there]
    return [path for path, match in found if not match or int(match[1]) not in clusters]


def write_cube(
    path: Path,
    variables: Mapping[str, NDArray[np.int16]],
    times: NDArray[np.datetime64],
    geobox: GeoBox,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Publish a cube of indices that ``xarray.open_zarr(path)`` opens as float with NaN.

    Equal arguments give equal bytes. A reader meets the old or the new cube, never a mix.

    Args:
        path: Where the store (a directory) goes.
        variables: Name → (time, y, x) int16, index / 1e-4, -32768 where missing.
        times: Rising, each once, UTC, of milliseconds or coarser.
        geobox: Grid of (y, x), north up: without rotation or shear.
        attrs: Attributes of the whole cube (title, attribution, licence), as JSON can say them.

    Raises:
        StorageError: The arguments do not fit together.
    """
    _check(path, variables, times, geobox)
    with publish_directory(path) as store:
        group = zarr.create_group(store, zarr_format=3, attributes={**CONVENTIONS, **(attrs or {})})
        for name, data in variables.items():
            variable = index_variable(name)
            create_variable(group, variable, data.shape)
            write_chunks(store / name, variable, data)
        write_coordinates(group, times, geobox)
        consolidate(store)


def open_cube(path: Path, *, asset: str | None = None) -> xr.Dataset:
    """Open a cube lazily: variables as float (time, y, x) with NaN where missing.

    Indices come as float32, which holds their steps of 1e-4; xarray by itself would compute
    float64, in twice the memory and the time.

    Args:
        path: The store: plain Zarr, or an Icechunk repository.
        asset: Name of the asset that makes the store, for the message when it is absent.

    Raises:
        StorageError: The store is absent or no cube, or is of Icechunk and that is not installed.
    """
    _require(path, asset)
    with _readable(path):
        store = latest_store(path) if is_repository(path) else path
        return _decoded(store, consolidated=store is path)


def _decoded(store: Any, *, consolidated: bool) -> xr.Dataset:
    raw: xr.Dataset = xr.open_zarr(store, consolidated=consolidated, mask_and_scale=False)
    indices = {
        name: variable.map_blocks(dequantise_index, dtype=np.float32, meta=_NO_VALUE)
        for name, variable in ((name, raw[name].data) for name in raw.data_vars)
        if raw[name].attrs.get("scale_factor") == SCALE and raw[name].chunks is not None
    }
    cube = xr.decode_cf(raw.drop_vars(indices))
    for name, values in indices.items():
        said = dict(raw[name].attrs)
        encoding = raw[name].encoding | {
            key: said.pop(key) for key in ("_FillValue", "scale_factor")
        }
        cube[name] = xr.Variable(raw[name].dims, values, said, encoding)
    return cube[[*raw.data_vars]]


def open_group(path: Path, *, asset: str | None = None) -> zarr.Group:
    """Open a cube's Zarr group for reading: values as they are stored.

    Raises:
        StorageError: As ``open_cube``.
    """
    _require(path, asset)
    with _readable(path):
        store = latest_store(path) if is_repository(path) else path
        return zarr.open_group(store, mode="r")


def consolidate(store: Path) -> None:
    """Write what the arrays of a plain store are into its root: readers need one file less each."""
    with warnings.catch_warnings():
        # open_zarr warns without consolidated metadata, Zarr warns that version 3 does not
        # specify it: readers are many, so this one warning is silenced here.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(str(store))


def _require(path: Path, asset: str | None) -> None:
    if not path.is_dir():
        advice = f"; materialize {asset} first" if asset else ""
        raise StorageError(f"{path}: does not exist{advice}")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Name the cube that is being opened, however it is damaged."""
    try:
        yield
    except StorageError:
        raise
    except damage() as error:
        raise StorageError(f"{path}: cannot be read as a cube: {error}") from error


def _check(
    path: Path,
    variables: Mapping[str, NDArray[np.int16]],
    times: NDArray[np.datetime64],
    geobox: GeoBox,
) -> None:
    check_grid(path, geobox)
    problem = None
    steps = np.diff(times.astype("datetime64[ns]").astype(np.int64))
    if np.isnat(times).any() or (times != times.astype("datetime64[ms]")).any():
        problem = "times want to be whole milliseconds, none missing"
    elif (steps <= 0).any():
        problem = f"times must rise, each once; {times[1:][steps <= 0][0]} does not follow in order"
    shape = (len(times), *geobox.shape)
    for name, data in variables.items():
        if data.dtype != np.int16 or data.shape != shape:
            problem = f"{name} is {data.dtype} {data.shape}, wanted int16 {shape} (time, y, x)"
    if problem:
        raise StorageError(f"{path}: cannot be written as a cube: {problem}")
