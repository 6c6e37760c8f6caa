"""What makes polygons usable as areas: their geometry, whatever they mean.

Labels, folds and splits are in ``labels``; reading files is in ``storage.vectors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from geo_assets.errors import AreaError

if TYPE_CHECKING:
    import geopandas

UTM_LATITUDES = (-80.0, 84.0)
"""South and north limit of the Universal Transverse Mercator system in degrees."""
MAX_REPAIR_CHANGE = 0.01
"""Largest change of a polygon's area that a repair may cause, as a fraction."""
SHOWN_ROWS = 10


def name_rows(mask: np.ndarray) -> str:
    """Name the rows (from 0) where a mask is true, the first ten of them."""
    rows = np.flatnonzero(mask)
    shown = ", ".join(str(row) for row in rows[:SHOWN_ROWS])
    more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def checked_polygons(
    frame: geopandas.GeoDataFrame, *, source_name: str
) -> tuple[geopandas.GeoSeries, list[str]]:
    """Check the geometries of a frame and give them as valid, flat polygons in EPSG:4326.

    Invalid polygons are repaired (``make_valid``, polygonal parts) where that changes their area
    by at most 1 %.

    Args:
        frame: Polygons and multipolygons in any stated CRS.
        source_name: What messages call the frame: its file.

    Returns:
        The geometries in the frame's order, and warnings about what was repaired.

    Raises:
        AreaError: No features, no CRS, geometries that are missing, empty, not polygonal, out of
            the range of longitude and latitude, across the antimeridian, beyond the latitudes of
            UTM, or broken beyond repair. Rows count from 0.
    """
    if len(frame) == 0:
        raise AreaError(f"{source_name}: has no features; at least one polygon is needed")
    if frame.crs is None:
        raise AreaError(f"{source_name}: states no CRS, and none is guessed")
    _check_polygonal(frame.geometry, source_name)
    flat = frame.geometry.force_2d()
    if frame.crs.is_geographic:
        # before any transformation, which would wrap or hide what is out of range
        _check_longitude_latitude(flat, source_name)
    geographic = flat.to_crs("EPSG:4326")
    _check_longitude_latitude(geographic, source_name)
    return _repaired(geographic, source_name)


def _check_polygonal(geometry: geopandas.GeoSeries, source_name: str) -> None:
    missing = np.asarray(geometry.isna() | geometry.is_empty)
    if missing.any():
        raise AreaError(
            f"{source_name}: {missing.sum()} geometries are null or empty: {name_rows(missing)}"
        )
    kinds = np.asarray(geometry.geom_type)
    wrong = ~np.isin(kinds, ["Polygon", "MultiPolygon"])
    if wrong.any():
        raise AreaError(
            f"{source_name}: geometries of type {sorted(set(kinds[wrong]))} in {name_rows(wrong)}; "
            "allowed are Polygon and MultiPolygon"
        )


def _check_longitude_latitude(geometry: geopandas.GeoSeries, source_name: str) -> None:
    west, south, east, north = geometry.bounds.to_numpy().T
    coordinates, rows = shapely.get_coordinates(geometry.array, return_index=True)
    infinite = np.zeros(len(geometry), dtype=bool)
    infinite[rows[~np.isfinite(coordinates).all(axis=1)]] = True
    if infinite.any():
        raise AreaError(
            f"{source_name}: coordinates that are not finite as longitude and latitude in "
            f"{name_rows(infinite)}; is the stated CRS the right one?"
        )
    outside = (west < -180) | (east > 180) | (south < -90) | (north > 90)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        swapped = west.min() >= -90 and east.max() <= 90 and np.abs([south, north]).max() <= 180
        hint = (
            "longitude and latitude look swapped (x must be the longitude)"
            if swapped
            else "is the stated CRS the right one? An area across the antimeridian must be split "
            "there, with longitudes from -180 to 180"
        )
        raise AreaError(
            f"{source_name}: longitude or latitude out of range in {name_rows(outside)}, first "
            f"bounds {geometry.bounds.iloc[first].tolist()}; {hint}"
        )
    crossing = east - west > 180
    if crossing.any():
        raise AreaError(
            f"{source_name}: {name_rows(crossing)} cross the antimeridian or span more than 180 "
            "degrees of longitude; split them at 180 degrees into features of their own"
        )
    polar = (south < UTM_LATITUDES[0]) | (north > UTM_LATITUDES[1])
    if polar.any():
        raise AreaError(
            f"{source_name}: {name_rows(polar)} lie beyond the latitudes of UTM, "
            f"{UTM_LATITUDES[0]:.0f} to {UTM_LATITUDES[1]:.0f} degrees, where metric work is done"
        )


def _repaired(
    geometry: geopandas.GeoSeries, source_name: str
) -> tuple[geopandas.GeoSeries, list[str]]:
    invalid = ~np.asarray(geometry.is_valid)
    if not invalid.any():
        return geometry, []
    polygons = np.array(geometry.array, dtype=object)
    before = shapely.area(polygons)
    for row in np.flatnonzero(invalid):
        parts = shapely.get_parts(shapely.make_valid(polygons[row]))
        polygons[row] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    after = shapely.area(polygons)
    # ratios of one polygon's areas: degrees serve as well as metres
    changed = np.abs(after - before) > MAX_REPAIR_CHANGE * np.maximum(after, before)
    changed |= after == 0
    if changed.any():
        first = int(np.flatnonzero(changed)[0])
        reason = shapely.is_valid_reason(geometry.iloc[first])
        raise AreaError(
            f"{source_name}: invalid polygons whose repair changes their area by more than "
            f"{MAX_REPAIR_CHANGE:.0%}: {name_rows(changed)} (first: {reason})"
        )
    warning = f"{source_name}: {invalid.sum()} invalid polygons were repaired: {name_rows(invalid)}"
    return type(geometry)(polygons, index=geometry.index, crs=geometry.crs), [warning]
