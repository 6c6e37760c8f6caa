"""Geometries: planar shapes in a CRS; distances by way of a local azimuthal projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
from pyproj import CRS, Transformer

from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import Geometry, Projection

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_LONGLAT = "EPSG:4326"
_PIECES = 64
"""An edge that is turned into another CRS is bent: it is cut into about as many pieces."""


def in_crs(geometry: Geometry, crs: str) -> BaseGeometry:
    """Return a shape in another CRS."""
    if geometry.crs == crs:
        return geometry.shape
    west, south, east, north = geometry.shape.bounds
    longest = max(east - west, north - south)
    fine = geometry.shape.segmentize(longest / _PIECES) if longest > 0 else geometry.shape
    turn = Transformer.from_crs(CRS(geometry.crs), CRS(crs), always_xy=True)
    return shapely.transform(fine, turn.transform, interleaved=False)


def longlat(geometry: Geometry) -> BaseGeometry:
    """Return a shape in longitude and latitude."""
    return in_crs(geometry, _LONGLAT)


def _code(crs: Any) -> str:
    if crs is None:
        return _LONGLAT
    if isinstance(crs, Projection):
        return crs.crs
    return ":".join(CRS.from_user_input(crs).to_authority())


def _turned(shape: BaseGeometry, crs: Any) -> Geometry:
    """A geometry whose coordinates are in a projection: its pixels where it has some."""
    if isinstance(crs, Projection):
        t = crs.transform
        shape = shapely.affinity.affine_transform(shape, [t.a, t.b, t.d, t.e, t.c, t.f])
    return Geometry(shape, _code(crs))


@algorithm("GeometryConstructors.Polygon")
def _polygon(
    coordinates: list[Any],
    crs: Any = None,
    geodesic: bool = True,
    maxError: Any = None,
    evenOdd: bool = True,
) -> Geometry:
    """Rings, or the outer one alone."""
    rings = coordinates if isinstance(coordinates[0][0], list) else [coordinates]
    return _turned(shapely.Polygon(rings[0], rings[1:]), crs)


@algorithm("GeometryConstructors.MultiPolygon")
def _multi_polygon(
    coordinates: list[Any],
    crs: Any = None,
    geodesic: bool = True,
    maxError: Any = None,
    evenOdd: bool = True,
) -> Geometry:
    return _turned(shapely.MultiPolygon([(c[0], c[1:]) for c in coordinates]), crs)


@algorithm("GeometryConstructors.BBox")
def _bbox(west: float, south: float, east: float, north: float) -> Geometry:
    return Geometry(shapely.box(west, south, east, north))


@algorithm("GeometryConstructors.Rectangle")
def _rectangle(
    coordinates: list[Any],
    crs: Any = None,
    geodesic: bool = True,
    evenOdd: bool = True,
) -> Geometry:
    flat = shapely.get_coordinates(shapely.LineString(_pairs(coordinates)))
    (west, south), (east, north) = flat.min(axis=0), flat.max(axis=0)
    return _turned(shapely.box(west, south, east, north), crs)


def _pairs(coordinates: list[Any]) -> list[tuple[float, float]]:
    if coordinates and not isinstance(coordinates[0], list):
        return [(coordinates[0], coordinates[1]), (coordinates[2], coordinates[3])]
    return [(x, y) for x, y in coordinates]


@algorithm("GeometryConstructors.Point")
def _point(coordinates: list[float], crs: Any = None, geodesic: bool = True) -> Geometry:
    return _turned(shapely.Point(coordinates), crs)


@algorithm("Geometry.buffer")
def _buffer(
    geometry: Geometry,
    distance: float,
    maxError: Any = None,
    proj: Any = None,
) -> Geometry:
    middle = longlat(geometry).centroid
    local = f"+proj=aeqd +lat_0={middle.y} +lon_0={middle.x} +datum=WGS84 +units=m"
    turn = Transformer.from_crs(_LONGLAT, CRS(local), always_xy=True)
    back = Transformer.from_crs(CRS(local), _LONGLAT, always_xy=True)
    grown = shapely.transform(longlat(geometry), turn.transform, interleaved=False).buffer(distance)
    return Geometry(shapely.transform(grown, back.transform, interleaved=False))


@algorithm("Geometry.bounds")
def _bounds(geometry: Geometry, maxError: Any = None, proj: Any = None) -> Geometry:
    return Geometry(shapely.box(*longlat(geometry).bounds))


@algorithm("Geometry.centroid")
def _centroid(geometry: Geometry, maxError: Any = None, proj: Any = None) -> Geometry:
    return Geometry(longlat(geometry).centroid)
