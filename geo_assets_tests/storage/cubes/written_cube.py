"""A cube of given values, in the form that cubes have, without the record of days they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr

from geo_assets.storage.atomic import publish_directory
from geo_assets.storage.cubes.chunk_files import pack_chunk, write_chunk_file
from geo_assets.storage.cubes.format import (
    CONVENTIONS,
    chunk_slices,
    chunks_of,
    create_variable,
    index_variable,
    write_coordinates,
)
from geo_assets.storage.cubes.opening import consolidate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox


def write_cube(
    path: Path,
    indices: Mapping[str, NDArray[np.int16]],
    times: NDArray[np.datetime64],
    geobox: GeoBox,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Publish a plain cube of indices.

    Args:
        path: Where the store goes.
        indices: Name → (time, y, x) int16 in steps of 1e-4, -32768 where missing.
        times: Rising.
        geobox: Grid of (y, x).
        attrs: Attributes of the whole cube.
    """
    with publish_directory(path) as store:
        group = zarr.create_group(store, zarr_format=3, attributes={**CONVENTIONS, **(attrs or {})})
        for name, data in indices.items():
            variable = index_variable(name)
            create_variable(group, variable, data.shape)
            _, *edges = chunks_of(data.shape[1:])
            for chunk in chunk_slices(data.shape, (1, *edges)):
                time, rows, cols = chunk
                place = (time.start, rows.start // edges[0], cols.start // edges[1])
                packed = pack_chunk(data[chunk][0], variable.fill, (edges[0], edges[1]))
                write_chunk_file(store / name, place, packed)
        write_coordinates(group, times, geobox)
        consolidate(store)
