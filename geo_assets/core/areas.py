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
from pyproj import CRS, Transformer

from geo_assets.errors import AreaError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Bounds = tuple[float, float, float, float]
"""West, south, east, north (minx, miny, maxx, maxy) in the units of a CRS."""

DENSIFY_POINTS = 64
"""Points added to each edge of a box before it is transformed: a straight edge in one CRS is a
curve in another, and its corners alone miss the bulge."""


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
    """Whether a metre of a CRS is one on the ground: of Web Mercator's, say, it is not."""
    projection = CRS(crs)
    operation = projection.coordinate_operation
    method = operation.method_name.lower() if operation else ""
    stretched = "mercator" in method and "transverse" not in method
    units = {axis.unit_name for axis in projection.axis_info}
    return projection.is_projected and units == {"metre"} and not stretched
