"""Cubes on disk: found and opened, plain Zarr v3 stores with CF attributes.

A cube is a plain Zarr store (``cluster-0.zarr``), written beside its place and exchanged with what
lies there (docs/decisions/0004-whole-store-publication-of-cubes.md), or an Icechunk repository
(``cluster-0.icechunk``), changed by transactions
(docs/decisions/0011-incremental-cubes.md). ``open_cube`` opens either.
"""

from __future__ import annotations

import json
import re
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import xarray as xr
import zarr
from xarray.coding.common import lazy_elemwise_func
from xarray.core.indexing import LazilyIndexedArray

from geo_assets.core.indices import dequantise_index
from geo_assets.errors import StorageError
from geo_assets.storage.cubes.format import (
    MISSING,
    SCALE,
)
from geo_assets.storage.cubes.icechunk_cube import damage, is_repository, latest_store

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Mapping
    from pathlib import Path

    from geo_assets.storage.layout import Layout

__all__ = ["MISSING", "SCALE", "open_cube", "open_group", "published_cubes"]

_TASK_BYTES = 16 * 2**20
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


def cubes_replaced_by(path: Path, published: Collection[Path]) -> list[Path]:
    """Return the cubes of one's cluster, in either store, of a tile or of all, that are to go.

    Args:
        path: Where the cube lies or will lie.
        published: Where all cubes lie that there are to be.
    """
    wanted = _CUBE.fullmatch(path.name)
    found = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    matches = [(each, _CUBE.fullmatch(each.name)) for each in found if each not in published]
    return [
        each
        for each, match in matches
        if match and wanted and match["cluster"] == wanted["cluster"] and each.is_dir()
    ]


def results_of_other_clusters(folder: Path, clusters: Collection[int]) -> list[Path]:
    """Return what lies in a folder of cubes but is of none of some clusters.

    Of a cluster are its cubes in either store, of each tile or of all, their locks and time-major
    copies.
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [(path, _OF_CLUSTER.match(path.name)) for path in there]
    return [path for path, match in found if not match or int(match[1]) not in clusters]


def open_cube(
    path: Path, *, asset: str | None = None, chunks: Mapping[str, int] | None = None
) -> xr.Dataset:
    """Open a cube lazily: variables as float (time, y, x) with NaN where missing.

    Indices come as float32, which holds their steps of 1e-4.

    Args:
        path: The store: plain Zarr, or an Icechunk repository.
        asset: Name of the asset that makes the store, for the message when it is absent.
        chunks: None: a selection is read when its values are asked for, whole. ``{}``: Dask arrays
            of a few of the store's chunks each, for what does not fit in memory; some sizes may
            be said by dimension.

    Raises:
        StorageError: The store is absent or no cube; it is of Icechunk, or chunks are asked for,
            and the library for that is not installed.
    """
    _require(path, asset)
    with _readable(path):
        store = latest_store(path) if is_repository(path) else path
        cube = _decoded(store, consolidated=store is path)
    if chunks is None:
        return cube
    if find_spec("dask") is None:
        raise StorageError(f"{path}: chunks want Dask; pip install 'geo-assets[dask]'")
    for name, variable in cube.data_vars.items():
        # Dask would name what is computed by path and form: a cube made again has the same.
        sizes = _task_chunks(variable) | dict(chunks)
        cube[name] = variable.chunk(sizes, token=uuid4().hex)
    return cube


def _decoded(store: Any, *, consolidated: bool) -> xr.Dataset:
    raw: xr.Dataset = xr.open_zarr(
        store, consolidated=consolidated, chunks=None, mask_and_scale=False
    )
    indices = [name for name in raw.data_vars if raw[name].attrs.get("scale_factor") == SCALE]
    cube = xr.decode_cf(raw.drop_vars(indices))
    for name in indices:
        stored = raw[name].variable
        said = dict(stored.attrs)
        encoding = stored.encoding | {key: said.pop(key) for key in ("_FillValue", "scale_factor")}
        # As xarray's own decoding does it, which would compute float64, in twice the memory.
        lazy = lazy_elemwise_func(stored._data, dequantise_index, np.dtype(np.float32))
        cube[name] = xr.Variable(stored.dims, LazilyIndexedArray(lazy), said, encoding)
    # An Icechunk store lists its arrays in any order.
    return cube[sorted(raw.data_vars, key=str)]


def _task_chunks(variable: xr.DataArray) -> dict[Hashable, int]:
    """Return chunks of the store put together, to 16 MiB: each task of Dask has its price."""
    time, rows, cols = variable.encoding["chunks"]
    while 4 * time * rows * cols * variable.dtype.itemsize <= _TASK_BYTES:
        rows, cols = 2 * rows, 2 * cols
    return dict(zip(variable.dims, (time, rows, cols), strict=True))


def open_group(path: Path, *, asset: str | None = None) -> zarr.Group:
    """Open a cube's Zarr group for reading: values as they are stored.

    Raises:
        StorageError: As ``open_cube``.
    """
    _require(path, asset)
    with _readable(path):
        store = latest_store(path) if is_repository(path) else path
        return zarr.open_group(store, mode="r")


def metadata_agree(store: Path) -> bool:
    """Whether each array of a plain store still says what its root has of it."""
    try:
        root = json.loads((store / "zarr.json").read_bytes())
        said = root["consolidated_metadata"]["metadata"]
        return all(
            json.loads((store / name / "zarr.json").read_bytes()) == of_array
            for name, of_array in said.items()
        )
    except damage():
        return False


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
