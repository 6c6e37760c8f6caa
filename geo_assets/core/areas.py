"""Where an area lies: the box of one cluster of polygons, as one value.

How clusters are found is in ``clusters``; which pixels a box covers is in ``grids``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import CRS, Proj, Transformer

from geo_assets.errors import AreaError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Bounds = tuple[float, float, float, float]
"""West, south, east, north (minx, miny, maxx, maxy) in the units of a CRS."""

DENSIFY_POINTS = 64
"""Points added to each edge of a box before it is transformed: a straight edge in one CRS is a
curve in another, and its corners alone miss the bulge."""

MOST_STRETCH = 0.1
"""By how much a metre of a CRS that measures metres may differ from one on the ground. In half
of their area grids of countries and continents stay below 0.09, those of the world do not below
0.18."""

_ALONG = 9
"""Places along each side of an area of use at which it is looked at how a CRS stretches."""


@dataclass(frozen=True)
class ClusterBox:
    """The box around the polygons of one cluster, in a metric CRS, buffer included."""

    cluster: int
    """Number of the cluster within its partition, from 0."""
    crs: str
    """Metric CRS of the bounds, such as ``EPSG:32737``."""
    bounds: Bounds
    """minx, miny, maxx, maxy in metres of ``crs``, with the buffer."""
    polygons: int
    """Number of polygons in the cluster."""

    def to_dict(self) -> dict[str, Any]:
        """Give the box as plain values for JSON."""
        return {
            "cluster": self.cluster,
            "crs": self.crs,
            "bounds": list(self.bounds),
            "polygons": self.polygons,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClusterBox:
        """Rebuild a box from ``to_dict``.

        Raises:
            StorageError: A field is missing or is not what it should be.
        """
        try:
            minx, miny, maxx, maxy = (float(value) for value in values["bounds"])
            return cls(
                cluster=int(values["cluster"]),
                crs=str(values["crs"]),
                bounds=(minx, miny, maxx, maxy),
                polygons=int(values["polygons"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"not a cluster box: {dict(values)!r} ({error!r}); "
                "needed are cluster, crs, bounds (4 numbers) and polygons"
            ) from error

    @property
    def width_m(self) -> float:
        """Extent from west to east in metres."""
        return self.bounds[2] - self.bounds[0]

    @property
    def height_m(self) -> float:
        """Extent from south to north in metres."""
        return self.bounds[3] - self.bounds[1]

    @property
    def polygon(self) -> shapely.Polygon:
        """The box as a polygon in its own CRS, counter-clockwise."""
        return shapely.box(*self.bounds)

    def bounds_in(self, crs: str) -> Bounds:
        """Give the bounds of the box in another CRS, edges densified, x before y.

        Raises:
            AreaError: The box crosses the antimeridian of a geographic CRS, or cannot be
                expressed in this CRS.
        """
        transformer = Transformer.from_crs(self.crs, crs, always_xy=True)
        minx, miny, maxx, maxy = transformer.transform_bounds(
            *self.bounds, densify_pts=DENSIFY_POINTS
        )
        where = f"cluster {self.cluster}: box {self.bounds} in {self.crs}"
        if not all(math.isfinite(value) for value in (minx, miny, maxx, maxy)):
            raise AreaError(f"{where} cannot be expressed in {CRS(crs).name}")
        if minx > maxx:  # pyproj's sign of a box across the antimeridian
            raise AreaError(
                f"{where} crosses the antimeridian (longitudes {minx:.4f} to {maxx:.4f}), "
                "which is not supported: use a smaller buffer or split the areas at 180 degrees"
            )
        return (minx, miny, maxx, maxy)

    def wgs84_bounds(self) -> Bounds:
        """Give west, south, east, north in degrees (EPSG:4326).

        Raises:
            AreaError: The box crosses the antimeridian.
        """
        return self.bounds_in("EPSG:4326")

    def wgs84_polygon(self) -> shapely.Polygon:
        """Give the outline in longitude and latitude with densified, hence true, edges.

        Raises:
            AreaError: The box crosses the antimeridian.
        """
        self.wgs84_bounds()
        transformer = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        longest_edge = max(self.width_m, self.height_m)
        return shapely.transform(
            shapely.segmentize(self.polygon, longest_edge / DENSIFY_POINTS),
            lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1])),
        )


@cache  # asked for every block of an area
def measures_metres(crs: str) -> bool:
    """Whether a metre of a CRS is one on the ground: of Web Mercator's, say, it is not.

    It is where the CRS is projected, has axes in metres, and where both axes of Tissot's ellipse of
    distortion (Snyder 1987, doi:10.3133/pp1395; PROJ computes it) differ from 1 by at most
    ``MOST_STRETCH`` in at least half of the CRS's area of use. By half of it since national and
    continental grids are stretched at the far corners of the box around that area, while of
    cylindrical projections of the world most of the world is. A CRS that states no area of use is
    judged by the name of its projection.

    Args:
        crs: What pyproj understands: a code or WKT.
    """
    projection = CRS(crs)
    units = {axis.unit_name for axis in projection.axis_info}
    if not projection.is_projected or units != {"metre"}:
        return False
    if projection.area_of_use is None:
        return not _stretches_by_name(projection)
    west, south, east, north = projection.area_of_use.bounds
    east += 360 if east < west else 0  # across the antimeridian
    share = (np.arange(_ALONG) + 0.5) / _ALONG  # in the middle of cells: never at a pole
    lon, lat = np.meshgrid(west + share * (east - west), south + share * (north - south))
    # Without errcheck a place that has no such factors has infinite ones.
    factors = Proj(projection).get_factors(
        (lon.ravel() + 180) % 360 - 180, lat.ravel(), errcheck=False
    )
    axes = np.array([factors.tissot_semimajor, factors.tissot_semiminor])
    return float(np.median(np.abs(axes - 1).max(axis=0))) <= MOST_STRETCH


def _stretches_by_name(projection: CRS) -> bool:
    operation = projection.coordinate_operation
    method = operation.method_name.lower() if operation else ""
    upright = "transverse" not in method and "oblique" not in method
    return upright and ("mercator" in method or "cylindrical" in method)
