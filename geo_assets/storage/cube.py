"""Cubes as plain Zarr v3 stores with CF attributes, published whole.

A store is written beside its place and exchanged with what lies there
(docs/decisions/0004-whole-store-publication-of-cubes.md); it is never changed in place.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any

import numcodecs.blosc  # type: ignore[import-untyped]  # ships no types
import numpy as np
import xarray as xr
import zarr
from odc.geo.xr import xr_coords
from zarr.codecs import BloscCodec

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

MISSING = -32768
"""The int16 value that is no datum."""

SCALE = 1e-4
"""Stored value times this is the index."""

CHUNK_EDGE = 1024

_CF_ATTRIBUTES = {
    "ndvi": {
        "standard_name": "normalized_difference_vegetation_index",
        "long_name": "Normalized difference vegetation index",
    },
}
_TIME_ATTRIBUTES = {
    "standard_name": "time",
    "axis": "T",
    "units": "milliseconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
}
_GRID_MAPPING = "spatial_ref"
_NO_COORDINATE = {"i": np.iinfo(np.int32).min, "f": float("nan")}
"""What a lost chunk of coordinates reads as: nothing that passes for a place or a time."""

# Threads of Blosc lay the blocks of a chunk in the order in which they finish: other bytes for
# the same data. Chunks are compressed side by side by Zarr's own threads.
numcodecs.blosc.use_threads = False


def write_cube(
    path: Path,
    variables: Mapping[str, NDArray[np.int16]],
    times: NDArray[np.datetime64],
    geobox: GeoBox,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Publish a cube that ``xarray.open_zarr(path)`` opens as float with NaN.

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
    codec = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
    with publish_directory(path) as store:
        group = zarr.create_group(
            store, zarr_format=3, attributes={"Conventions": "CF-1.11", **(attrs or {})}
        )
        for name, data in variables.items():
            _, height, width = data.shape
            array = group.create_array(
                name,
                shape=data.shape,
                dtype="int16",
                chunks=(1, min(CHUNK_EDGE, height), min(CHUNK_EDGE, width)),
                compressors=codec,
                # Zarr's own: what a chunk that was not written holds. xarray would say 0.
                fill_value=MISSING,
                dimension_names=("time", "y", "x"),
                attributes={
                    **_CF_ATTRIBUTES.get(name, {}),
                    "units": "1",
                    "_FillValue": MISSING,
                    "scale_factor": SCALE,
                    "grid_mapping": _GRID_MAPPING,
                    # Makes xarray take the grid mapping for a coordinate.
                    "coordinates": _GRID_MAPPING,
                },
            )
            _write_chunks(array, data)
        for name, coordinate in _coordinates(times, geobox).items():
            group.create_array(
                name,
                data=coordinate.values,
                chunks=coordinate.shape or "auto",
                compressors=codec,
                fill_value=_NO_COORDINATE.get(coordinate.dtype.kind, 0),
                dimension_names=[str(name) for name in coordinate.dims],
                attributes=coordinate.attrs,
            )
        _consolidate(store)


def open_cube(path: Path, *, asset: str | None = None) -> xr.Dataset:
    """Open a cube lazily: variables as float (time, y, x) with NaN where missing.

    Args:
        path: The store.
        asset: Name of the asset that makes the store, for the message when it is absent.

    Raises:
        StorageError: The store is absent or no Zarr store.
    """
    if not path.is_dir():
        advice = f"; materialize {asset} first" if asset else ""
        raise StorageError(f"{path}: does not exist{advice}")
    try:
        cube: xr.Dataset = xr.open_zarr(path)
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"{path}: cannot be read as a cube: {error}") from error
    return cube


def _write_chunks(array: zarr.Array[Any], data: NDArray[np.int16]) -> None:
    # Not array[...] = data: when one chunk fails, Zarr raises while others are still being
    # written, and these would come to lie in a folder that is already being removed.
    def write(chunk: tuple[slice, ...]) -> None:
        array[chunk] = data[chunk]

    edges = [range(0, size, step) for size, step in zip(data.shape, array.chunks, strict=True)]
    chunks = [
        tuple(slice(start, start + step) for start, step in zip(corner, array.chunks, strict=True))
        for corner in product(*edges)
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, chunks))


def _coordinates(times: NDArray[np.datetime64], geobox: GeoBox) -> dict[str, xr.DataArray]:
    milliseconds = times.astype("datetime64[ms]").astype(np.int64)
    space = xr_coords(geobox, crs_coord_name=_GRID_MAPPING, dims=("y", "x"))
    return {
        "time": xr.DataArray(milliseconds, dims="time", attrs=_TIME_ATTRIBUTES),
        "y": space["y"].assign_attrs(_axis_attributes(geobox, "y")),
        "x": space["x"].assign_attrs(_axis_attributes(geobox, "x")),
        _GRID_MAPPING: space[_GRID_MAPPING],
    }


def _axis_attributes(geobox: GeoBox, axis: str) -> dict[str, str]:
    if geobox.crs is not None and geobox.crs.geographic:
        names = {"y": "latitude", "x": "longitude"}
    else:
        names = {"y": "projection_y_coordinate", "x": "projection_x_coordinate"}
    return {"axis": axis.upper(), "standard_name": names[axis]}


def _consolidate(store: Path) -> None:
    with warnings.catch_warnings():
        # open_zarr warns without consolidated metadata, Zarr warns that version 3 does not
        # specify it: readers are many, so this one warning is silenced here.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(str(store))


def _check(
    path: Path,
    variables: Mapping[str, NDArray[np.int16]],
    times: NDArray[np.datetime64],
    geobox: GeoBox,
) -> None:
    problem = None
    steps = np.diff(times.astype("datetime64[ns]").astype(np.int64))
    if geobox.crs is None or not geobox.axis_aligned:
        problem = "the grid wants a CRS and neither rotation nor shear"
    elif np.isnat(times).any() or (times != times.astype("datetime64[ms]")).any():
        problem = "times want to be whole milliseconds, none missing"
    elif (steps <= 0).any():
        problem = f"times must rise, each once; {times[1:][steps <= 0][0]} does not follow in order"
    shape = (len(times), *geobox.shape)
    for name, data in variables.items():
        if data.dtype != np.int16 or data.shape != shape:
            problem = f"{name} is {data.dtype} {data.shape}, wanted int16 {shape} (time, y, x)"
    if problem:
        raise StorageError(f"{path}: cannot be written as a cube: {problem}")
