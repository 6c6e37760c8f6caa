"""Expressions in, answers out: what the service's methods give, without HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely.geometry import mapping

from geo_assets_tests.emulators.earth_engine.algorithms.collections import LONGEST_LIST, elements
from geo_assets_tests.emulators.earth_engine.algorithms.geometries import longlat
from geo_assets_tests.emulators.earth_engine.interpreter import Interpreter
from geo_assets_tests.emulators.earth_engine.rendering import render
from geo_assets_tests.emulators.earth_engine.service_errors import ServiceError
from geo_assets_tests.emulators.earth_engine.values import (
    Band,
    Date,
    DateRange,
    Feature,
    Filter,
    Geometry,
    Image,
    ImageCollection,
    Projection,
    Reducer,
    Table,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets_tests.emulators.earth_engine.assets import Assets

EarthEngineError = ServiceError

__all__ = ["EarthEngineError", "evaluate", "features_of", "image_of", "info", "render"]


def evaluate(expression: Mapping[str, Any], assets: Assets) -> Any:
    """Return what an expression is.

    Raises:
        ServiceError: If it cannot be evaluated.
    """
    try:
        return Interpreter(expression, assets).result()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise bad_request(f"Invalid expression: {type(error).__name__}: {error}") from error


def image_of(value: Any) -> Image:
    """Return a value that must be an image.

    Raises:
        ServiceError: If it is none.
    """
    if not isinstance(value, Image):
        raise bad_request(f"Expression does not evaluate to an image but a {type(value).__name__}.")
    return value


def info(value: Any) -> Any:  # noqa: PLR0911, PLR0912  # a kind each
    """Return what ``getInfo`` gives of a value: JSON's own types.

    Raises:
        ServiceError: If it is too long, or nothing that JSON can say.
    """
    if isinstance(value, ImageCollection | Table) and len(elements(value)) > LONGEST_LIST:
        raise bad_request(
            f"Collection query aborted after accumulating over {LONGEST_LIST} elements."
        )
    match value:
        case Image():
            return _image_info(value)
        case ImageCollection():
            return {
                "type": "ImageCollection",
                "bands": [],
                "features": [_image_info(image) for image in value.images],
            }
        case Feature():
            return _feature_info(value)
        case Table():
            return {
                "type": "FeatureCollection",
                "columns": {},
                "features": [_feature_info(feature) for feature in value.features],
            }
        case Geometry():
            return dict(mapping(longlat(value)))
        case Projection():
            return {"type": "Projection", "crs": value.crs, "transform": list(value.transform)[:6]}
        case Date():
            return {"type": "Date", "value": value.milliseconds}
        case DateRange():
            return {"type": "DateRange", "dates": list(asdict(value).values())}
        case Filter() | Reducer():
            raise bad_request(f"Object of type {type(value).__name__} cannot be converted to JSON.")
        case list() | tuple():
            return [info(item) for item in value]
        case dict():
            return {key: info(item) for key, item in value.items()}
        case np.generic():
            return value.item()
    return value


def features_of(value: Any) -> list[dict[str, Any]]:
    """Return the features of a table as GeoJSON.

    Raises:
        ServiceError: If it is no table.
    """
    if not isinstance(value, Table):
        raise bad_request(f"Expression does not evaluate to a table but a {type(value).__name__}.")
    return [_feature_info(feature) for feature in value.features]


def _feature_info(feature: Feature) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": None if feature.geometry is None else dict(mapping(feature.geometry)),
        "id": str(feature.properties.get("system:index", "0")),
        "properties": {
            name: info(value)
            for name, value in feature.properties.items()
            if name != "system:index"
        },
    }


def _image_info(image: Image) -> dict[str, Any]:
    properties = {name: info(value) for name, value in image.properties.items()}
    if image.footprint is not None:
        ring = list(map(list, image.footprint.exterior.coords))
        properties["system:footprint"] = {"type": "LinearRing", "coordinates": ring}
    answer = {
        "type": "Image",
        "bands": [_band_info(band) for band in image.bands],
        "properties": properties,
    }
    if image.id is not None:
        answer |= {"id": image.id, "version": image.version}
    return answer


def _band_info(band: Band) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": band.name,
        "data_type": _data_type(np.dtype(band.dtype)),
        "crs": band.projection.crs,
        "crs_transform": list(band.projection.transform)[:6],
    }
    if band.shape is not None:
        answer["dimensions"] = [band.shape[1], band.shape[0]]
    return answer


def _data_type(dtype: np.dtype[Any]) -> dict[str, Any]:
    if dtype.kind == "f":
        return {"type": "PixelType", "precision": "float" if dtype.itemsize == 4 else "double"}
    limits = np.iinfo(dtype)
    return {
        "type": "PixelType",
        "precision": "int",
        "min": int(limits.min),
        "max": int(limits.max),
    }
