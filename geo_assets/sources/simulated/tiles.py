"""The two tiles of the archive and the master lattice that the landscape is drawn on.

Both tiles are square windows of real Sentinel-2 tiles on either side of 12° E, where the UTM zones
32 and 33 meet; they overlap there. No pixels live here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.transform import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geo_assets.sources.simulated.spec import ArchiveSpec

PIXEL_M = 10
SNAP_M = 60
"""Tile corners lie on multiples of this, as those of real Sentinel-2 tiles do."""
MASTER_EPSG = 32632
_SEAM = {32632: (717_428.7, 5_481_809.1), 32633: (282_571.3, 5_481_809.1)}
"""12° E, 49.45° N, the middle of the overlap, in either zone."""
_OVERLAP = 120 / 768
_MARGIN_PX = 30


@dataclass(frozen=True)
class Tile:
    """One tile of the archive."""

    name: str
    """MGRS name, such as 32UQV."""
    epsg: int
    geobox: GeoBox
    """The 10 m lattice."""

    @property
    def size(self) -> int:
        """Pixels of 10 m along a side."""
        return int(self.geobox.shape[0])

    def lattice(self, resolution: int) -> GeoBox:
        """Return the tile's lattice of ``resolution`` metres (10, 20 or 60)."""
        return self.geobox.zoom_out(resolution // PIXEL_M)


def west_and_east(spec: ArchiveSpec) -> tuple[Tile, Tile]:
    """Return the western tile (zone 32) and the eastern tile (zone 33)."""
    return _tile("32UQV", 32632, spec.tile_size, west=True), _tile(
        "33UTQ", 32633, spec.tile_size, west=False
    )


def _tile(name: str, epsg: int, size: int, *, west: bool) -> Tile:
    seam_x, seam_y = _SEAM[epsg]
    extent = size * PIXEL_M
    reach = _OVERLAP * extent / 2
    left = _snap(seam_x + reach - extent if west else seam_x - reach)
    top = _snap(seam_y + extent / 2)
    return Tile(name, epsg, _geobox(left, top, (size, size), epsg))


def _snap(value: float) -> int:
    return round(value / SNAP_M) * SNAP_M


def _geobox(left: float, top: float, shape: tuple[int, int], epsg: int) -> GeoBox:
    return GeoBox(shape, Affine(PIXEL_M, 0, left, 0, -PIXEL_M, top), f"EPSG:{epsg}")


def master_lattice(spec: ArchiveSpec) -> GeoBox:
    """Return a 10 m lattice in EPSG:32632, aligned with the western tile, that holds both tiles."""
    west, east = west_and_east(spec)
    box = west.geobox.boundingbox
    other = east.geobox.footprint(f"EPSG:{MASTER_EPSG}").boundingbox
    margin = _MARGIN_PX * PIXEL_M
    left = _snap(min(box.left, other.left) - margin)
    top = _snap(max(box.top, other.top) + margin)
    columns = math.ceil((max(box.right, other.right) + margin - left) / PIXEL_M)
    rows = math.ceil((top - min(box.bottom, other.bottom) + margin) / PIXEL_M)
    return _geobox(left, top, (rows, columns), MASTER_EPSG)


def nearest_master_pixels(master: GeoBox, tile: Tile) -> NDArray[np.int32]:
    """Return, for each 10 m pixel of a tile (y, x), the flat index of the nearest master pixel."""
    affine = tile.geobox.affine
    steps = np.arange(tile.size) + 0.5
    x, y = np.meshgrid(affine.c + steps * affine.a, affine.f + steps * affine.e)
    if tile.epsg != MASTER_EPSG:
        x, y = Transformer.from_crs(tile.epsg, MASTER_EPSG, always_xy=True).transform(x, y)
    column = np.floor((x - master.affine.c) / PIXEL_M).astype(np.int32)
    row = np.floor((master.affine.f - y) / PIXEL_M).astype(np.int32)
    return np.asarray(row * np.int32(master.shape[1]) + column)
