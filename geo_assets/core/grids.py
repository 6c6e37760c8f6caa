"""Pixel grids: which CRS an area gets, which pixels cover it, and where they lie on their lattice.

A grid is always one ``odc.geo.geobox.GeoBox``. Its *lattice* is the endless grid of pixels it is
a window of; rows and columns of the lattice are counted from the origin of the CRS, so that a
pixel has the same row and column whatever area it was cut for. How a grid is cut into chips is
in ``chip_grid``.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geo_assets.errors import AreaError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets.core.areas import Bounds, ClusterBox

EQUAL_AREA = "EPSG:6933"
"""Cylindrical equal-area: UTM zones are rectangles in it, and areas are true."""
POSITION_TOLERANCE = 1 / (32 * math.pi)
"""Fraction of a pixel (about 0.01) by which an origin may lie before a lattice line and count as
on it; irrational, so that no origin in round numbers lies on the edge of the decision."""
OUTWARD_TOLERANCE = 1e-6
"""Fraction of a pixel that float noise may reach over a pixel edge without taking that pixel."""
_UTM = re.compile(r"(\d{1,2})([NS])")


def utm_crs_of(area: geopandas.GeoDataFrame | geopandas.GeoSeries | Bounds) -> CRS:
    """Give the UTM zone (WGS84) that covers most of an area; ties go to the lower EPSG code.

    Zones are the plain six-degree ones, without the exceptions of Norway and Svalbard.

    Args:
        area: Polygons in any CRS, or west, south, east, north in degrees.

    Raises:
        AreaError: The area is empty.
    """
    if isinstance(area, tuple):
        area = geopandas.GeoSeries([shapely.box(*area)], crs="EPSG:4326")
    shares = _zone_shares(area.geometry)
    if not shares:
        raise AreaError("an area without polygons lies in no UTM zone")
    (zone, south), _ = max(shares.items(), key=lambda item: (item[1], -_epsg(*item[0])))
    return CRS(f"EPSG:{_epsg(zone, south)}")


def choose_crs(box: ClusterBox, scene_crs: Sequence[CRS], *, stated: CRS | None = None) -> CRS:
    """Choose the CRS of the grid of an area.

    The stated CRS; else, of the scenes' CRSs, the UTM zone (of any datum) that covers most of the
    box; else the CRS that most scenes have (ties: the lower name); without scenes the WGS84 zone
    of the box.

    Args:
        box: The area.
        scene_crs: The CRS of each scene, repeated as often as it occurs.
        stated: The CRS the campaign asks for.
    """
    if stated is not None:
        return stated
    outline = geopandas.GeoSeries([box.wgs84_polygon()], crs="EPSG:4326")
    if not scene_crs:
        return utm_crs_of(outline)
    shares = _zone_shares(outline)
    counts = Counter(_by_code(crs) for crs in scene_crs)

    def rank(crs: CRS) -> tuple[float, int, str]:
        zone = _UTM.fullmatch(crs.proj.utm_zone or "")
        share = shares.get((int(zone[1]), zone[2] == "S"), 0.0) if zone else 0.0
        return (-share, -counts[crs], str(crs))

    return min(counts, key=rank)


def _zone_shares(geometry: geopandas.GeoSeries) -> dict[tuple[int, bool], float]:
    """Give the share of the polygons' area in each (UTM zone, is south), to nine decimals."""
    polygons = geometry.to_crs(EQUAL_AREA).array
    if len(polygons) == 0:
        return {}
    half, top = 17367530.445161372, 7.5e6  # x at 180 degrees, and more than y at 90
    width = half / 30
    bounds = shapely.bounds(polygons)
    first = np.clip(np.floor((bounds[:, 0] + half) / width), 0, 59).astype(int)
    last = np.clip(np.floor((bounds[:, 2] + half) / width), 0, 59).astype(int)
    shares: dict[tuple[int, bool], float] = {}
    for index in range(first.min(), last.max() + 1):
        here = polygons[(first <= index) & (last >= index)]
        west = -half + index * width
        for south, (low, high) in ((False, (0.0, top)), (True, (-top, 0.0))):
            clipped = shapely.clip_by_rect(here, west, low, west + width, high)
            share = float(shapely.area(clipped).sum())
            if share > 0:
                shares[(index + 1, south)] = share
    total = sum(shares.values())
    # rounded, so that float noise does not decide between equal halves
    return {zone: round(share / total, 9) for zone, share in shares.items()}


def _epsg(zone: int, south: bool) -> int:
    return (32700 if south else 32600) + zone


@dataclass(frozen=True)
class Lattice:
    """The endless grid of pixels that a GeoBox is a window of."""

    crs: CRS
    pixel_x: float
    """Signed width of a pixel in units of the CRS, east positive."""
    pixel_y: float
    """Signed height of a pixel, negative in north-up images."""
    phase_x: float
    """Distance of the lattice's lines from the origin of the CRS, in pixels, about 0 … 1."""
    phase_y: float

    @classmethod
    def of(cls, geobox: GeoBox) -> Lattice:
        """Give the lattice of a grid, freed of float noise.

        The phase is rounded to a step far below a pixel (1.5e-8 of it for pixels of a metre and
        more) and yet above the noise of float64 coordinates: any two windows of one lattice have
        the same ``Lattice``, and the same window cut from either has the same transform, bit for
        bit.

        Raises:
            SourceError: The grid has no CRS, or is rotated or sheared.
        """
        return _placed(geobox)[0]

    def position(self, geobox: GeoBox) -> tuple[int, int]:
        """Give row and column of the upper-left pixel of a window of this lattice."""
        row, _ = _split(geobox.affine.f, self.pixel_y, self.crs)
        col, _ = _split(geobox.affine.c, self.pixel_x, self.crs)
        return row, col

    def window(self, row: int, col: int, shape: tuple[int, int]) -> GeoBox:
        """Give the window of a shape (rows, columns) whose upper-left pixel is (row, col)."""
        affine = Affine(
            self.pixel_x,
            0.0,
            (col + self.phase_x) * self.pixel_x,
            0.0,
            self.pixel_y,
            (row + self.phase_y) * self.pixel_y,
        )
        return GeoBox(shape, affine, self.crs)


def _placed(geobox: GeoBox) -> tuple[Lattice, int, int]:
    """Return the lattice of a grid, and row and column of its upper-left pixel on it."""
    crs, affine = crs_of(geobox), geobox.affine
    if not geobox.axis_aligned:
        raise SourceError(
            f"a rotated or sheared grid is not supported: {tuple(affine)[:6]} in {crs}; "
            "warp the image to a north-up grid first"
        )
    col, phase_x = _split(affine.c, affine.a, crs)
    row, phase_y = _split(affine.f, affine.e, crs)
    return Lattice(crs, affine.a, affine.e, phase_x, phase_y), row, col


@functools.lru_cache(maxsize=256)  # asked for every window of one raster
def _placed_once(grid: GridKey) -> tuple[Lattice, int, int]:
    return _placed(grid.geobox)


def _split(origin: float, pixel: float, crs: CRS) -> tuple[int, float]:
    """Split an origin into a whole number of pixels and the phase of its lattice, in pixels."""
    extent = 512.0 if crs.geographic else 2.0**25  # no coordinate is larger, in degrees, metres
    # three roundings to 53 bits lie between a position and its coordinate
    step = 2.0 ** max(-26, math.ceil(math.log2(extent / abs(pixel))) - 51)
    pixels = origin / pixel
    index = math.floor(pixels + POSITION_TOLERANCE)
    return index, round((pixels - index) / step) * step


def crs_of(geobox: GeoBox) -> CRS:
    """Give the CRS of a grid, by its code where it has one, so that equal CRSs are spelled alike.

    Raises:
        SourceError: It has none.
    """
    if geobox.crs is None:
        raise SourceError(f"a grid without a CRS has no place on the ground: {geobox}")
    return _by_code(str(geobox.crs))


def code_of(crs: CRS) -> str | None:
    """Give the code of a CRS in a register, such as ``EPSG:32632``; None if it has none."""
    return _code_of(str(crs))


@functools.lru_cache(maxsize=256)  # finding the code of a WKT takes milliseconds
def _code_of(text: str) -> str | None:
    authority = CRS(text).proj.to_authority()
    return ":".join(authority) if authority else None


@functools.lru_cache(maxsize=256)
def _by_code(text: str) -> CRS:
    return CRS(_code_of(text) or text)


class GridKey:
    """A grid as a key of what is remembered about it.

    The hash of a GeoBox writes its CRS as WKT each time: 0.1 ms, in which many pixels are decoded.
    """

    __slots__ = ("_key", "geobox")

    def __init__(self, geobox: GeoBox) -> None:
        """Take the numbers of a grid, and the name of its CRS."""
        affine = geobox.affine
        numbers = (affine.a, affine.b, affine.c, affine.d, affine.e, affine.f)
        self._key = (geobox.shape.yx, numbers, str(geobox.crs))
        self.geobox = geobox

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GridKey) and self._key == other._key


def lattice_position(geobox: GeoBox) -> tuple[int, int]:
    """Give row and column of a grid's upper-left pixel on its lattice.

    Rows grow downwards and columns to the right from the origin of the CRS; rows north of it are
    negative. Exact for any window of one lattice, whatever float noise its origin carries.

    Raises:
        SourceError: The grid has no CRS, or is rotated or sheared.
    """
    _, row, col = _placed(geobox)
    return row, col


def pixel_window(outer: GeoBox, inner: GeoBox) -> tuple[slice, slice]:
    """Give the rows and columns of one grid, in pixels of another on the same lattice.

    Slices may reach beyond ``outer`` and then start below zero.

    Raises:
        SourceError: The two grids are not on one lattice.
    """
    (lattice, top, left), (other, row, col) = _placed_once(GridKey(outer)), _placed(inner)
    if lattice != other:
        raise SourceError(f"two grids that are not windows of one lattice: {lattice} and {other}")
    return (
        slice(row - top, row - top + inner.shape.y),
        slice(col - left, col - left + inner.shape.x),
    )


def window_of(native: GeoBox, box: ClusterBox, *, clip: bool = False) -> GeoBox:
    """Give the window of a native lattice that covers a box, snapped outward to whole pixels.

    Args:
        native: The grid of the source, whose lattice is kept.
        box: The area; its edges are densified before they are transformed.
        clip: Cut the window at the edges of ``native`` (a single raster); otherwise it may reach
            beyond them (more scenes may lie there).

    Raises:
        AreaError: With ``clip``: the box lies outside of ``native``.
        SourceError: The native grid has no CRS, or is rotated or sheared.
    """
    lattice = Lattice.of(native)
    minx, miny, maxx, maxy = box.bounds_in(str(lattice.crs))
    cols = [value / lattice.pixel_x - lattice.phase_x for value in (minx, maxx)]
    rows = [value / lattice.pixel_y - lattice.phase_y for value in (miny, maxy)]
    left, right = _outward(min(cols), max(cols))
    top, bottom = _outward(min(rows), max(rows))
    if clip:
        first_row, first_col = lattice.position(native)
        top, bottom = max(top, first_row), min(bottom, first_row + native.shape.y)
        left, right = max(left, first_col), min(right, first_col + native.shape.x)
        if top >= bottom or left >= right:
            raise AreaError(
                f"cluster {box.cluster}: box {box.bounds} in {box.crs} lies outside of the "
                f"raster, {tuple(native.boundingbox.bbox)} in {lattice.crs}"
            )
    return lattice.window(top, left, (bottom - top, right - left))


def geobox_of(box: ClusterBox, crs: CRS, resolution: float) -> GeoBox:
    """Give the north-up grid that covers a box, with pixel edges at multiples of the resolution.

    Args:
        box: The area.
        crs: CRS of the grid.
        resolution: Side of a pixel in units of ``crs``, positive.

    Raises:
        SourceError: The resolution is not positive.
    """
    if not resolution > 0:
        raise SourceError(f"resolution {resolution}: must be greater than 0, in units of {crs}")
    origin = GeoBox((1, 1), Affine(resolution, 0.0, 0.0, 0.0, -resolution, 0.0), crs)
    return window_of(origin, box)


def _outward(low: float, high: float) -> tuple[int, int]:
    first = math.floor(low + OUTWARD_TOLERANCE)
    return first, max(first + 1, math.ceil(high - OUTWARD_TOLERANCE))


def authority_code(crs: CRS) -> str:
    """Give the code of a CRS as STAC's ``proj:code`` wants it, such as ``EPSG:32632``.

    Raises:
        SourceError: The CRS has no code in a register, so that a table could not name it.
    """
    code = code_of(crs)
    if code is None:
        raise SourceError(
            f"the CRS {crs.proj.name!r} has no code in a register (EPSG, ESRI, …); "
            "state one that has with 'crs'"
        )
    return code


def group_by_crs(geoboxes: Sequence[GeoBox]) -> dict[CRS, list[int]]:
    """Give the indices of the grids of each CRS, in order of first appearance."""
    groups: dict[CRS, list[int]] = {}
    for index, geobox in enumerate(geoboxes):
        groups.setdefault(crs_of(geobox), []).append(index)
    return groups
