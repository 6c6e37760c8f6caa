"""What a cube looks like as a Zarr group, whichever store it lies in: arrays, axes, attributes.

How a store is published is in ``opening``, ``publication`` and ``icechunk_cube``.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the type of a field of a dataclass
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords
from zarr.codecs import BloscCodec

from geo_assets.errors import StorageError
from geo_assets.storage.cubes.chunk_files import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zarr
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

MISSING = -32768
"""The int16 value that is no datum."""

SCALE = 1e-4
"""Stored value times this is the index."""

CHUNK_EDGE = 1024
DIMENSIONS = ("time", "y", "x")
GRID_MAPPING = "spatial_ref"
CONVENTIONS = {"Conventions": "CF-1.11"}
COORDINATES = (*DIMENSIONS, GRID_MAPPING)

Index3 = tuple[slice, slice, slice]

_STANDARD_NAMES = {"ndvi": "normalized_difference_vegetation_index"}
_LONG_NAMES = {"ndvi": "Normalized difference vegetation index"}
_TIME_ATTRIBUTES = {
    "standard_name": "time",
    "axis": "T",
    "units": "milliseconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
}
_NO_COORDINATE = {"i": np.iinfo(np.int32).min, "f": float("nan")}
"""What a lost chunk of coordinates reads as: nothing that passes for a place or a time."""


@dataclass(frozen=True)
class CubeVariable:
    """One variable (time, y, x) of a cube.

    Attributes:
        name: Its name.
        dtype: numpy's name of the stored dtype.
        fill: Stored value of pixels without datum.
        attributes: What it is, in CF's words.
    """

    name: str
    dtype: str
    fill: float
    attributes: Mapping[str, Any] = field(default_factory=dict)


def index_variable(name: str, **attributes: Any) -> CubeVariable:
    """Return a spectral index as variable: int16 in steps of 1e-4, -32768 where missing."""
    known = {"standard_name": _STANDARD_NAMES.get(name), "long_name": _LONG_NAMES.get(name)}
    said = {key: value for key, value in known.items() if value} | attributes
    return CubeVariable(
        name, "int16", MISSING, said | {"units": "1", "_FillValue": MISSING, "scale_factor": SCALE}
    )


def band_variable(name: str, dtype: str) -> CubeVariable:
    """Return a raw band as variable, in the source's dtype.

    Without datum it holds what no datum is: 0 where numbers are unsigned (a datum of 0 is stored as
    1), the least number where they are signed, NaN in floating point.
    """
    kind = np.dtype(dtype)
    said: dict[str, Any] = {"long_name": f"Band {name}, digital numbers of the source"}
    if kind.kind == "f":
        # JSON has no NaN; Zarr writes its own fill value as text.
        return CubeVariable(name, kind.name, float("nan"), said)
    fill = 0 if kind.kind == "u" else int(np.iinfo(kind).min)
    said["_FillValue"] = fill
    if kind.kind == "u":
        said["comment"] = "0 is no datum; a datum of 0 is stored as 1"
    return CubeVariable(name, kind.name, fill, said)


def variable_of(array: zarr.Array[Any]) -> CubeVariable:
    """Return a stored array as the variable that it is."""
    return CubeVariable(array.basename, array.dtype.name, array.fill_value, dict(array.attrs))


def chunks_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the chunk of the append layout: one date, at most 1024 pixels a side."""
    return (1, min(CHUNK_EDGE, max(shape[0], 1)), min(CHUNK_EDGE, max(shape[1], 1)))


def codec(cname: Literal["zstd", "lz4"] = "zstd") -> BloscCodec:
    """Return the compression of an array: LZ4 is read sooner and takes a fifth more room."""
    return BloscCodec(cname=cname, clevel=1, shuffle="shuffle", blocksize=BLOCK_BYTES)


def create_variable(
    group: zarr.Group,
    variable: CubeVariable,
    shape: tuple[int, int, int],
    *,
    chunks: tuple[int, int, int] | None = None,
    shards: tuple[int, int, int] | None = None,
    compressor: BloscCodec | None = None,
) -> zarr.Array[Any]:
    """Create the empty array of a variable in a group."""
    return group.create_array(
        variable.name,
        shape=shape,
        dtype=variable.dtype,
        chunks=chunks or chunks_of(shape[1:]),
        shards=shards,
        compressors=compressor or codec(),
        # Zarr's own: what a chunk that was not written holds. xarray would say 0.
        fill_value=variable.fill,
        dimension_names=DIMENSIONS,
        attributes={
            **variable.attributes,
            "grid_mapping": GRID_MAPPING,
            # Makes xarray take the grid mapping for a coordinate.
            "coordinates": GRID_MAPPING,
        },
    )


def write_coordinates(
    group: zarr.Group, times: NDArray[np.datetime64], geobox: GeoBox, *, overwrite: bool = False
) -> None:
    """Write time, y, x and the grid mapping."""
    for name, coordinate in coordinates_of(times, geobox).items():
        group.create_array(
            name,
            data=coordinate.values,
            chunks=tuple(max(size, 1) for size in coordinate.shape) or "auto",
            compressors=codec(),
            fill_value=_NO_COORDINATE.get(coordinate.dtype.kind, 0),
            dimension_names=[str(dim) for dim in coordinate.dims],
            attributes=coordinate.attrs,
            overwrite=overwrite,
        )


def coordinates_of(times: NDArray[np.datetime64], geobox: GeoBox) -> dict[str, xr.DataArray]:
    """Return the coordinates of a cube as they are stored: times in milliseconds since 1970."""
    milliseconds = times.astype("datetime64[ms]").astype(np.int64)
    space = xr_coords(geobox, crs_coord_name=GRID_MAPPING, dims=("y", "x"))
    return {
        "time": xr.DataArray(milliseconds, dims="time", attrs=_TIME_ATTRIBUTES),
        "y": space["y"].assign_attrs(_axis_attributes(geobox, "y")),
        "x": space["x"].assign_attrs(_axis_attributes(geobox, "x")),
        GRID_MAPPING: space[GRID_MAPPING],
    }


def chunk_slices(shape: Sequence[int], chunks: Sequence[int]) -> list[Index3]:
    """Return the chunks of an array (time, y, x), in row-major order."""
    edges = [range(0, size, step) for size, step in zip(shape, chunks, strict=True)]
    return [
        (
            slice(t, min(t + chunks[0], shape[0])),
            slice(y, min(y + chunks[1], shape[1])),
            slice(x, min(x + chunks[2], shape[2])),
        )
        for t, y, x in product(*edges)
    ]


def check_grid(path: object, geobox: GeoBox) -> None:
    """Refuse a grid that axes of numbers cannot say.

    Raises:
        StorageError: It has no CRS, or is rotated or sheared.
    """
    if geobox.crs is None or not geobox.axis_aligned:
        raise StorageError(
            f"{path}: cannot be written as a cube: the grid wants a CRS and neither rotation nor "
            "shear"
        )


def _axis_attributes(geobox: GeoBox, axis: str) -> dict[str, str]:
    if geobox.crs is not None and geobox.crs.geographic:
        names = {"y": "latitude", "x": "longitude"}
    else:
        names = {"y": "projection_y_coordinate", "x": "projection_x_coordinate"}
    return {"axis": axis.upper(), "standard_name": names[axis]}
