"""The part of a tile that an acquisition saw, as polygon and as mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely import Polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.simulated.acquisitions import Swath
    from geo_assets.sources.simulated.tiles import Tile

_OUTLINES: dict[Swath, tuple[tuple[float, float], ...]] = {
    "whole": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "upper": ((0, 0), (1, 0), (1, 0.45), (0, 0.80)),
    "lower": ((0, 0.50), (1, 0.15), (1, 1), (0, 1)),
    "corner": ((0, 0), (0.26, 0), (0, 0.36)),
}
"""Corners in tile units, (x, y) from the upper left corner. The two datastrips overlap in a slanted
band; the corner is the last of an orbit's edge, 4.7 % of the tile."""


def swath_polygon(tile: Tile, swath: Swath) -> Polygon:
    """Return what was seen as a polygon in the tile's CRS."""
    box = tile.geobox.boundingbox
    extent = box.right - box.left
    corner = np.array([box.left, box.top])
    return Polygon(corner + np.array(_OUTLINES[swath]) * (extent, -extent))


def swath_mask(tile: Tile, swath: Swath, lattice: GeoBox) -> NDArray[np.bool_]:
    """Return which pixels (y, x) of one of the tile's lattices were seen (their centres)."""
    affine = lattice.affine
    height, width = lattice.shape
    x = affine.c + (np.arange(width) + 0.5) * affine.a
    y = affine.f + (np.arange(height) + 0.5) * affine.e
    return np.asarray(shapely.contains_xy(swath_polygon(tile, swath), *np.meshgrid(x, y)))
