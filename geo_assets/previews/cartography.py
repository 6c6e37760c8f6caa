"""What makes a plot of metres a map: extent, graticule, scale bar, north arrow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely
from matplotlib.collections import PathCollection
from matplotlib.patches import Polygon, Rectangle
from matplotlib.path import Path as MplPath
from pyproj import Transformer

from geo_assets.previews.palette import INK, LINE, MUTED
from geo_assets.previews.style import SMALL_SIZE, Sheet, font

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

Bounds = tuple[float, float, float, float]
GROUND: Final = "#f2f3f1"

_NICE: Final = (1.0, 2.0, 5.0)


def metric_crs(frame: Any) -> Any:
    """Return the UTM zone of a frame (EPSG:4326 geometries) for drawing it in metres."""
    return frame.estimate_utm_crs()


def union(boxes: Iterable[Bounds]) -> Bounds:
    """Return the bounds around some bounds."""
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)


def extent(bounds: Bounds, width: int, height: int, *, pad: float = 0.06) -> Bounds:
    """Return the bounds, padded and widened to the aspect ratio of width x height pixels."""
    west, south, east, north = bounds
    metres = max((east - west) / width, (north - south) / height, 1e-3) * (1 + 2 * pad)
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    return (
        middle_x - metres * width / 2,
        middle_y - metres * height / 2,
        middle_x + metres * width / 2,
        middle_y + metres * height / 2,
    )


def map_axes(
    sheet: Sheet,
    place: tuple[int, int, int, int],
    bounds: Bounds,
    crs: Any,
    *,
    graticule: bool = True,
) -> Axes:
    """Return axes in metres of ``crs`` at place (x, y, width, height), furnished as a map.

    With a graticule, longitudes and latitudes are drawn lightly and named at the left and lower
    edge, outside the place: leave 34 pixels at the left and 16 below.
    """
    x, y, width, height = place
    west, south, east, north = extent(bounds, width, height)
    axes = sheet.axes(x, y, width, height)
    axes.set_facecolor(GROUND)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(LINE)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_xticks([])
    axes.set_yticks([])
    if graticule:
        _graticule(axes, (west, south, east, north), crs)
    _scale_bar(sheet, axes, place, (east - west) / width)
    return axes


def add_polygons(axes: Axes, geometries: Iterable[Any], **look: Any) -> None:
    """Draw shapely polygons, holes and parts included, in one matplotlib collection.

    geopandas' own plot goes through pyplot and its global figures, which threads must not share.
    """
    paths = []
    for geometry in geometries:
        rings = [
            MplPath(np.asarray(ring.coords)[:, :2], closed=True)
            for polygon in shapely.get_parts(geometry)
            if polygon.geom_type == "Polygon"
            for ring in _rings(polygon)
            if not ring.is_empty
        ]
        if rings:
            paths.append(MplPath.make_compound_path(*rings))
    axes.add_collection(PathCollection(paths, **look), autolim=False)


def north_arrow(axes: Axes) -> None:
    """Draw a small north arrow into the upper right corner of a map."""
    box = axes.get_window_extent()
    unit_x, unit_y = 1 / box.width, 1 / box.height
    x, y = 1 - 16 * unit_x, 1 - 9 * unit_y
    for side, colour in ((-1, INK), (1, "#ffffff")):
        axes.add_patch(
            Polygon(
                [(x, y), (x + side * 6 * unit_x, y - 18 * unit_y), (x, y - 13 * unit_y)],
                transform=axes.transAxes,
                facecolor=colour,
                edgecolor=INK,
                linewidth=0.8,
                zorder=9,
            )
        )
    axes.text(
        x, y - 30 * unit_y, "N", transform=axes.transAxes, ha="center", va="baseline",
        color=INK, fontproperties=font(SMALL_SIZE, bold=True), zorder=9,
    )  # fmt: skip


def _rings(polygon: Any) -> tuple[Any, ...]:
    # Agg fills by winding: a hole stays open only if it turns the other way than its shell.
    turned = shapely.orient_polygons(polygon)
    return (turned.exterior, *turned.interiors)


def _nice_step(span: float, count: int) -> float:
    rough = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next((nice * power for nice in _NICE if nice * power >= rough), 10 * power)


def _degrees(value: float, step: float, positive: str, negative: str) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    side = positive if value > 0 else negative if value < 0 else ""
    return f"{abs(value):.{decimals}f}°{side}"


def _graticule(axes: Axes, bounds: Bounds, crs: Any) -> None:
    west, south, east, north = bounds
    back = Transformer.from_crs(crs, 4326, always_xy=True)
    forth = Transformer.from_crs(4326, crs, always_xy=True)
    lon_west, lat_south, lon_east, lat_north = back.transform_bounds(west, south, east, north)
    if not (lon_west < lon_east and lat_south < lat_north):
        return  # the map crosses the antimeridian: metres say enough
    box = axes.get_window_extent()
    step_lon = _nice_step(lon_east - lon_west, max(2, int(box.width / 110)))
    step_lat = _nice_step(lat_north - lat_south, max(2, int(box.height / 90)))
    along = np.linspace(0, 1, 25)
    for lon in np.arange(math.ceil(lon_west / step_lon), lon_east / step_lon) * step_lon:
        xs, ys = forth.transform(np.full(25, lon), lat_south + along * (lat_north - lat_south))
        axes.plot(xs, ys, color=LINE, linewidth=0.7, zorder=0.5)
        at = float(np.interp(south, ys, xs))
        if west < at < east:
            axes.annotate(
                _degrees(lon, step_lon, "E", "W"), (at, south), (0, -4), color=MUTED,
                textcoords="offset points", ha="center", va="top",
                fontproperties=font(SMALL_SIZE), annotation_clip=False,
            )  # fmt: skip
    for lat in np.arange(math.ceil(lat_south / step_lat), lat_north / step_lat) * step_lat:
        xs, ys = forth.transform(lon_west + along * (lon_east - lon_west), np.full(25, lat))
        axes.plot(xs, ys, color=LINE, linewidth=0.7, zorder=0.5)
        at = float(np.interp(west, xs, ys))
        if south < at < north:
            axes.annotate(
                _degrees(lat, step_lat, "N", "S"), (west, at), (-4, 0), color=MUTED,
                textcoords="offset points", ha="right", va="center", rotation=90,
                fontproperties=font(SMALL_SIZE), annotation_clip=False,
            )  # fmt: skip


def _scale_bar(
    sheet: Sheet, axes: Axes, place: tuple[int, int, int, int], metres_per_pixel: float
) -> None:
    x, y, width, height = place
    room = metres_per_pixel * min(110, width * 0.4)
    power = 10.0 ** math.floor(math.log10(room))
    length = max(nice * power for nice in _NICE if nice * power <= room)
    name = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    pixels = length / metres_per_pixel
    west, south = axes.get_xlim()[0], axes.get_ylim()[0]
    left, base = west + 10 * metres_per_pixel, south + 9 * metres_per_pixel
    box = (pixels + 12 + sheet.text_width(name, SMALL_SIZE) + 8) * metres_per_pixel
    axes.add_patch(
        Rectangle(
            (west + 4 * metres_per_pixel, south + 3 * metres_per_pixel), box,
            16 * metres_per_pixel, facecolor="#ffffff", alpha=0.8, linewidth=0, zorder=8,
        )
    )  # fmt: skip
    for half, colour in ((0, INK), (1, "#ffffff")):
        axes.add_patch(
            Rectangle(
                (left + half * length / 2, base), length / 2, 4 * metres_per_pixel,
                facecolor=colour, edgecolor=INK, linewidth=0.8, zorder=9,
            )
        )  # fmt: skip
    sheet.text(x + 10 + pixels + 6, y + height - 17, name, size=SMALL_SIZE)
