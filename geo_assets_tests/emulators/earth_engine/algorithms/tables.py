"""Tables of features, and images made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.features import rasterize
from shapely import union_all

from geo_assets_tests.emulators.earth_engine.algorithms.geometries import in_crs, longlat
from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Band,
    Feature,
    Geometry,
    Image,
    Pixels,
    Reducer,
    Table,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox


@algorithm("Feature")
def _feature(geometry: Any = None, metadata: dict[str, Any] | None = None) -> Feature:
    shape = longlat(geometry) if isinstance(geometry, Geometry) else geometry
    return Feature(shape, dict(metadata or {}))


@algorithm("Collection")
def _collection(features: Sequence[Any]) -> Table:
    return Table(
        tuple(
            feature if isinstance(feature, Feature) else Feature(longlat(feature), {})
            for feature in features
        )
    )


@algorithm("Collection.loadTable", assets=True)
def _load_table(
    assets: Any,
    tableId: str,
    geometryColumn: str | None = None,
    version: int | None = None,
) -> Table:
    return assets.table(tableId)


@algorithm("Collection.geometry")
def _geometry(collection: Table, maxError: Any = None) -> Geometry:
    shapes = [f.geometry for f in collection.features if f.geometry is not None]
    return Geometry(union_all(shapes))


@algorithm("Collection.remap")
def _remap(
    collection: Table,
    lookupIn: Sequence[Any],
    lookupOut: Sequence[int],
    columnName: str,
) -> Table:
    """Features whose value is not looked up are left out, as the service does."""
    lookup = dict(zip(lookupIn, lookupOut, strict=True))
    return Table(
        tuple(
            replace(feature, properties={**feature.properties, columnName: lookup[value]})
            for feature in collection.features
            if (value := feature.properties.get(columnName)) in lookup
        )
    )


@algorithm("Collection.reduceToImage")
def _reduce_to_image(collection: Table, properties: Sequence[str], reducer: Reducer) -> Image:
    """Every pixel that a polygon touches; where several meet, what the reducer says."""
    [name] = properties
    if reducer.name not in {"max", "min", "first", "last"}:
        raise bad_request(f"Collection.reduceToImage: Reducer.{reducer.name} is unknown here.")
    found = [
        (feature.geometry, float(feature.properties[name]))
        for feature in collection.features
        if feature.properties.get(name) is not None and feature.geometry is not None
    ]
    # What is burned later stays.
    order = {
        "max": sorted(found, key=lambda pair: pair[1]),
        "min": sorted(found, key=lambda pair: -pair[1]),
        "first": found[::-1],
        "last": found,
    }[reducer.name]

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        shapes = [(in_crs(Geometry(shape), str(grid.crs)), value) for shape, value in order]
        band = np.full(grid.shape, np.nan)
        if shapes:
            band = rasterize(
                shapes,
                out_shape=grid.shape.yx,
                transform=grid.affine,
                fill=np.nan,
                all_touched=True,
                dtype="float64",
            )
        known = ~np.isnan(band)
        return [(np.where(known, band, 0), known) for _ in wanted]

    return Image((Band(reducer.name, "float64"),), pull)
