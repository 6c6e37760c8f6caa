"""Reading vector files as they come from users: one front door, with caps and errors by name.

Here lives how bytes become a GeoDataFrame. What makes a polygon or a label acceptable does not:
see ``core.polygons`` and ``core.labels``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyogrio  # type: ignore[import-untyped]  # ships no types
import shapely

from geo_assets.errors import AreaError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 2 * 1024**3
"""Largest vector file that is read, in bytes."""
MAX_FEATURES = 2_000_000
"""Largest number of features of one layer."""
MAX_VERTICES = 100_000_000
"""Largest number of vertices of one layer (1.6 GB of coordinates)."""

PARQUET_SUFFIXES = frozenset({".parquet", ".geoparquet", ".pq"})


def read_vector(path: Path, *, layer: str | None = None) -> geopandas.GeoDataFrame:
    """Read one layer of a vector file, flat (x, y) and with the CRS its file states.

    Any file geopandas reads: GeoJSON, GeoPackage, shapefile, GeoParquet … A GeoJSON file without
    a ``crs`` member is longitude/latitude on WGS84, as its standard says (RFC 7946, section 4);
    every other format must state its CRS.

    Args:
        path: The file.
        layer: The layer to read; needed where the file has several with geometries.

    Returns:
        The features in file order, index 0 … n-1, without Z and M coordinates.

    Raises:
        AreaError: The file is missing, too large or unreadable, has no features, no geometries,
            no CRS, or several layers of which none was named.
    """
    if not path.exists():
        raise AreaError(f"{path}: no such file")
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise AreaError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            frame = _read_geoparquet(path, layer)
        else:
            frame = _read_with_gdal(path, layer)
    except AreaError:
        raise
    # pyogrio, pyarrow and shapely raise dozens of types over damaged bytes; all mean the same here
    except Exception as error:
        raise AreaError(f"{path}: cannot be read as a vector file: {error}") from error
    return _checked(frame, path)


def _read_geoparquet(path: Path, layer: str | None) -> geopandas.GeoDataFrame:
    from pyarrow import parquet

    if layer is not None:
        raise AreaError(f"{path}: layer {layer!r} is asked for, but GeoParquet has no layers")
    _check_feature_count(path, parquet.read_metadata(path).num_rows)
    return geopandas.read_parquet(path)


def _read_with_gdal(path: Path, layer: str | None) -> geopandas.GeoDataFrame:
    layers = [str(name) for name, geometry_type in pyogrio.list_layers(path) if geometry_type]
    if layer is not None and layer not in layers:
        raise AreaError(f"{path}: no layer {layer!r} with geometries; its layers are {layers}")
    if not layers:
        raise AreaError(f"{path}: no layer with geometries")
    if layer is None and len(layers) > 1:
        raise AreaError(_ambiguous_layers(path, layers))
    name = layer if layer is not None else layers[0]
    info: dict[str, Any] = pyogrio.read_info(path, layer=name, force_feature_count=True)
    _check_feature_count(path, int(info["features"]))
    return geopandas.read_file(path, layer=name)


def _ambiguous_layers(path: Path, layers: list[str]) -> str:
    crs_of = {name: str(pyogrio.read_info(path, layer=name)["crs"]) for name in layers}
    text = f"{path}: several layers, name the one to read with 'layer': {layers}"
    if len(set(crs_of.values())) > 1:
        text += f"; they are in several CRSs and are never mixed: {crs_of}"
    return text


def _check_feature_count(path: Path, features: int) -> None:
    if features == 0:
        raise AreaError(f"{path}: has no features; at least one is needed")
    if features > MAX_FEATURES:
        raise AreaError(f"{path}: {features} features; at most {MAX_FEATURES} are read")


def _checked(frame: geopandas.GeoDataFrame, path: Path) -> geopandas.GeoDataFrame:
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise AreaError(f"{path}: has no geometries")
    if frame.crs is None:
        raise AreaError(
            f"{path}: states no CRS, and none is guessed; write it into the file "
            "(for instance: ogr2ogr -a_srs EPSG:4326 with_crs.gpkg <file>)"
        )
    vertices = int(np.sum(shapely.get_num_coordinates(frame.geometry.array)))
    if vertices > MAX_VERTICES:
        raise AreaError(f"{path}: {vertices} vertices; at most {MAX_VERTICES} are read")
    flat = frame.geometry.force_2d()
    return frame.set_geometry(flat).reset_index(drop=True)
