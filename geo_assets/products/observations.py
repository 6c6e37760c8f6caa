"""Clear observations of an area, day by day, with the windows that could not be read named.

Scenes are read one at a time through a ``RasterSource``; clouds are masked; scenes of one solar
day are fused. A read that fails costs its window, never the whole date, and is never silent.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.crs import CRS
from shapely.geometry import shape

from geo_assets.core.clouds import clear_mask
from geo_assets.core.compositing import fill_value
from geo_assets.core.fusion import DayFusion
from geo_assets.core.grids import GridKey, crs_of, lattice_position, pixel_window
from geo_assets.errors import ReadError, SourceError
from geo_assets.products.windows import FailedWindow, Window, merge_windows, tiles_of
from geo_assets.sources.protocol import SceneRead
from geo_assets.sources.scenes.order import observation_order, solar_day
from geo_assets.storage.chips.messages import publishable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from shapely.geometry.base import BaseGeometry

    from geo_assets.sources.protocol import Item, RasterSource
    from geo_assets.sources.rules import CloudRules

LEAF = 64
"""Pixels a side of the smallest window that a failed read is narrowed down to."""

_LONGITUDE_LATITUDE = CRS("EPSG:4326")
_RING = np.array([[0, 1, 2, 2, 2, 1, 0, 0], [0, 0, 0, 1, 2, 2, 2, 1]]) / 2
"""Corners and middles of edges, of a grid's width and height."""

PATIENCE = 8
"""Leaves of one read that may fail in passing (a server that is away) before the rest is given up,
as long as none could be read."""


@dataclass(frozen=True)
class Observations:
    """Clear observations of one grid.

    Attributes:
        days: (day,) datetime64[D], sorted, unique: days of which something could be read.
        data: (day, band, y, x), the source's dtype; where not valid 0 (unsigned), the least value
            (signed) or NaN (float). Without days of no meaning.
        valid: (day, y, x), True where every band was read and is clear.
        failed: Windows whose pixels could not be read, or not be told from cloud because a
            neighbour could not; they are not valid on that day, whatever other scene has them.
        met: Whether a scene has a datum, clear or not, in the area.
    """

    days: NDArray[np.datetime64]
    data: NDArray[Any]
    valid: NDArray[np.bool_]
    failed: tuple[FailedWindow, ...]
    met: bool


def observe(
    source: RasterSource,
    items: Sequence[Item],
    bands: Sequence[str],
    geobox: GeoBox,
    clouds: CloudRules,
    *,
    area: NDArray[np.bool_] | None = None,
    dtype: str | None = None,
) -> Observations:
    """Read every scene that meets a grid and fuse the clear pixels of each solar day.

    Clouds are grown across the grid's own edge, so that a window of an area gives the same pixels
    as the area.

    Args:
        source: Where pixels come from.
        items: STAC items; those that do not meet the grid cost nothing.
        bands: Bands in order.
        geobox: The grid.
        clouds: Which pixels are clear.
        area: (y, x), the pixels that count as met; None: all.
        dtype: What scenes of several dtypes become; None: they are refused.

    Raises:
        SourceError: If an item cannot be understood (not if its pixels cannot be read).
        DtypesDifferError: If scenes are of several dtypes, and none is given for them.
    """
    margin = clouds.dilation(geobox)
    padded = geobox.pad(margin) if margin else geobox
    rows, cols = geobox.shape
    inner = Window(margin, margin, rows, cols)
    ordered = observation_order(items_observed(items, geobox, clouds))
    item_days = [solar_day(item) for item in ordered]
    fusion = DayFusion(item_days, dtype)
    seen = met = False
    failed: dict[np.datetime64, list[FailedWindow]] = {}
    for item, day in zip(ordered, item_days, strict=True):
        scene, lost = read_what_can_be(source, item, bands, padded, clouds.band)
        # Whether a pixel is clear is unknown as long as one within the margin is; but of a scene's
        # own alone: its clouds hide no other's.
        place = _place_of(source, item, bands[0], padded) if lost else None
        reach = (window.grown(margin).within(inner) for window in lost)
        own = (w if place is None or w is None else w.within(place) for w in reach)
        failed.setdefault(day, []).extend(w.moved(-margin, -margin) for w in own if w)
        if scene is None:
            continue
        clear = scene.valid
        there = clear[inner.slices]
        met = met or bool((there if area is None else there & area).any())
        if scene.scl is not None:
            clear &= clear_mask(scene.scl, clouds.exclude, dilate_pixels=margin)
        fusion.add(scene.data[:, *inner.slices], clear[inner.slices], day)
        seen = True
    everything = tuple(merge_windows(window for lost in failed.values() for window in lost))
    if not seen:
        return Observations(
            np.zeros(0, "datetime64[D]"),
            np.zeros((0, len(bands), rows, cols), np.uint16),
            np.zeros((0, rows, cols), bool),
            everything,
            met,
        )
    data, valid, days = fusion.result()
    for number, day in enumerate(days):
        for window in failed[day]:
            valid[number, *window.slices] = False
            data[number, :, *window.slices] = fill_value(data.dtype)
    return Observations(days, data, valid, everything, met)


def items_observed(items: Sequence[Item], geobox: GeoBox, clouds: CloudRules) -> list[Item]:
    """Return the items that ``observe`` reads for a grid: clouds beside it may grow into it."""
    margin = clouds.dilation(geobox)
    return items_meeting(items, geobox.pad(margin) if margin else geobox)


def items_meeting(items: Sequence[Item], geobox: GeoBox) -> list[Item]:
    """Return the items that may have pixels on a grid."""
    area = shapely.from_wkb(_area_of(GridKey(geobox)))
    return [item for item in items if footprint_of(item).intersects(area)]


def footprint_of(item: Item) -> BaseGeometry:
    """Return where a scene may have pixels, in longitude and latitude: its footprint, and slack.

    A window has to find the scenes that the whole area finds, though edges bulge, see ``_bulge``.
    """
    return _with_slack(json.dumps(item["geometry"]))


@functools.lru_cache(maxsize=4096)  # asked for every block of an area
def _with_slack(geometry: str) -> BaseGeometry:
    # Part by part: one that is cut at 180° spans the world, and none of its edges does.
    whole = shape(json.loads(geometry))
    # Of one that crosses itself a buffer keeps a half.
    parts = [
        part if part.is_valid else shapely.make_valid(part) for part in shapely.get_parts(whole)
    ]
    return shapely.union_all([p.buffer(_bulge(p), join_style="mitre") for p in parts])


@functools.lru_cache(maxsize=4096)  # asked for every day of a block
def _area_of(grid: GridKey) -> bytes:
    """Where a grid lies, in longitude and latitude, as WKB: few points and slack.

    Not a geometry, and none left with the grid either: what GEOS keeps for long amid the memory of
    arrays that come and go would part that memory, and the heap would grow by each.
    """
    # Straight to PROJ: by way of odc-geo's geometries it takes six times as long.
    affine, (height, width) = grid.geobox.affine, grid.geobox.shape
    cols, rows = _RING[0] * width, _RING[1] * height
    ring = np.stack(
        crs_of(grid.geobox).transformer_to_crs(_LONGITUDE_LATITUDE)(
            affine.a * cols + affine.b * rows + affine.c,
            affine.d * cols + affine.e * rows + affine.f,
        ),
        axis=-1,
    )
    known = ring[np.isfinite(ring).all(axis=1)]
    area = shapely.Polygon(known) if len(known) > 2 else shapely.Polygon()
    wkb: bytes = shapely.to_wkb(shapely.buffer(area, _bulge(area), join_style="mitre"))
    return wkb


def _bulge(footprint: BaseGeometry) -> float:
    """Return by how many degrees the edges of a footprint may miss it.

    The edge of a tile is straight on its own grid and bulges in degrees by
    length² · tan(latitude) / 8R: 400 m along a Sentinel-2 tile at 60°.
    """
    west, south, east, north = footprint.bounds
    latitude = math.radians(min(max(abs(south), abs(north)), 85.0))
    diagonal = math.hypot((east - west) * math.cos(latitude), north - south)
    return math.radians(diagonal) * diagonal * math.tan(latitude) / 8


def read_what_can_be(
    source: RasterSource, item: Item, bands: Sequence[str], geobox: GeoBox, scl_band: str | None
) -> tuple[SceneRead | None, list[FailedWindow]]:
    """Read a scene on a grid, or what of it can be read, narrowed down to leaves.

    Leaves lie at multiples of their size on the pixel lattice, as chips do at multiples of their
    stride: a chip of 64, 128 or 256 pixels that cannot be read takes no neighbour with it.

    Args:
        source: Where pixels come from.
        item: The scene.
        bands: Bands in order.
        geobox: The grid.
        scl_band: Name of the scene classification to read too.

    Returns:
        The pixels, not valid where they could not be read, None if none could; and the leaves
        within the scene's footprint that could not. Beyond it pixels are read too, for a footprint
        may be narrower than what the file holds; but where none is promised none is missed.
    """
    try:
        return source.read(item, bands, geobox, scl_band=scl_band), []
    except ReadError as error:
        whole = error
    footprint = footprint_of(item)
    leaves = list(tiles_of(geobox.shape.yx, LEAF, lattice_position(geobox)))
    promised = {
        leaf
        for leaf in leaves
        if footprint.intersects(geobox[leaf.slices].footprint("EPSG:4326", npoints=2).geom)
    }
    if whole.whole or whole.kind == "permanent":  # a file that is not there is there for no leaf
        return None, [failed_window(leaf, item, whole) for leaf in leaves if leaf in promised]
    parts: dict[Window, SceneRead] = {}
    lost: dict[Window, ReadError] = {}
    # In mixed order, so that the first few tell of the whole grid.
    for number in np.random.default_rng(0).permutation(len(leaves)):
        leaf = leaves[number]
        if not parts and whole.kind == "transient" and len(lost) >= PATIENCE:
            lost[leaf] = whole
            continue
        try:
            part = source.read(item, bands, geobox[leaf.slices], scl_band=scl_band)
        except ReadError as error:
            lost[leaf] = error
            continue
        if leaf in promised or part.valid.any():
            parts[leaf] = part
    failed = [failed_window(leaf, item, error) for leaf, error in lost.items() if leaf in promised]
    return _put_together(parts, len(bands), geobox.shape.yx), failed


def _place_of(source: RasterSource, item: Item, band: str, geobox: GeoBox) -> Window | None:
    """Return the leaves of a grid in which a scene's own lies, as one window; None: not known."""
    try:
        own = pixel_window(geobox, source.native_geobox(item, band))
    except (ReadError, SourceError):  # its file is not there, or of another lattice
        return None
    (top, bottom), (left, right) = (
        (
            (pixels.start + first) // LEAF * LEAF - first,
            -(-(pixels.stop + first) // LEAF) * LEAF - first,
        )
        for pixels, first in zip(own, lattice_position(geobox), strict=True)
    )
    return Window(top, left, bottom - top, right - left)


def failed_window(window: Window, item: Item, error: ReadError) -> FailedWindow:
    """Return a window as one of a scene that could not be read."""
    return FailedWindow(
        window.row,
        window.col,
        window.height,
        window.width,
        item["id"],
        error.kind,
        publishable(str(error)),
    )


def _put_together(
    parts: dict[Window, SceneRead], bands: int, size: tuple[int, int]
) -> SceneRead | None:
    """Lay the leaves that could be read on one grid; the rest is not valid."""
    if not parts:
        return None
    first = next(iter(parts.values()))
    data = np.zeros((bands, *size), first.data.dtype)
    valid = np.zeros(size, bool)
    scl = None if first.scl is None else np.zeros(size, np.uint8)
    for leaf, part in parts.items():
        data[:, *leaf.slices] = part.data
        valid[leaf.slices] = part.valid
        if scl is not None and part.scl is not None:
            scl[leaf.slices] = part.scl
    return SceneRead(data, valid, scl)
