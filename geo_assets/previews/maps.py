"""The map of AOI clusters: polygons by cluster, each cluster's box with its buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from matplotlib.patches import Rectangle
from pyproj import CRS, Transformer

from geo_assets.previews.cartography import (
    Bounds,
    add_polygons,
    map_axes,
    metric_crs,
    north_arrow,
    union,
)
from geo_assets.previews.palette import class_colours
from geo_assets.previews.style import (
    GAP,
    LABEL_HEIGHT,
    MARGIN,
    SMALL_SIZE,
    LegendItem,
    Sheet,
    nothing_here,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from geo_assets.core.areas import ClusterBox

_MAP: Final = 380
_LEFT: Final = MARGIN + 18
_DETAIL: Final = 150
_MAX_DETAILS: Final = 6
_MAX_LEGEND: Final = 12
_SMALL: Final = 5.0
"""Pixels below which a polygon is marked by a dot: it would be lost on the map."""
_SMALL_BOX: Final = 8.0
"""Pixels below which a whole cluster is one larger dot."""


def clusters_map(
    polygons: Any,
    boxes: Sequence[ClusterBox],
    *,
    title: str = "AOI clusters",
    subtitle: str = "",
) -> bytes:
    """Return the map of all clusters and, beside it, one detail map per cluster (up to 6).

    Args:
        polygons: GeoDataFrame in EPSG:4326 with ``geometry`` and ``cluster``.
        boxes: The clusters' boxes, buffer included; drawn solid, the box without buffer dashed.
        title: Heading.
        subtitle: Second line.
    """
    if not len(polygons) or not boxes:
        return nothing_here(title, "no areas in this fold and split")
    crs = metric_crs(polygons)
    metric = polygons.to_crs(crs)
    colours = dict(
        zip(
            sorted(box.cluster for box in boxes),
            class_colours(len(boxes)),
            strict=True,
        )
    )
    items = [
        LegendItem(
            f"cluster {box.cluster} · {box.polygons} polygon{'s' * (box.polygons != 1)} · "
            f"{_kilometres(box.bounds)}",
            colours[box.cluster],
        )
        for box in boxes[:_MAX_LEGEND]
    ]
    if len(boxes) > _MAX_LEGEND:
        items.append(LegendItem(f"and {len(boxes) - _MAX_LEGEND} more", "#ffffff"))
    details = boxes[:_MAX_DETAILS] if len(boxes) > 1 else []
    rows = 2 if len(details) > 1 else 1
    columns = -(-len(details) // rows)
    width = max(_LEFT + _MAP + MARGIN + columns * (_DETAIL + GAP) + (6 if details else 0), 440)
    top = Sheet.top(title, subtitle)
    foot = top + _MAP + 26
    legend_width = width - _LEFT - MARGIN
    probe = Sheet(width, 10)
    sheet = Sheet(width, foot + probe.legend_height(items, legend_width) + 10, title, subtitle)
    whole = union(_in(box, crs) for box in boxes)
    axes = map_axes(sheet, (_LEFT, top, _MAP, _MAP), whole, crs)
    _draw(axes, metric, boxes, crs, colours)
    north_arrow(axes)
    height = (_MAP - (rows - 1) * GAP) // rows - LABEL_HEIGHT
    for index, box in enumerate(details):
        x = _LEFT + _MAP + MARGIN + index % columns * (_DETAIL + GAP)
        y = top + index // columns * (height + LABEL_HEIGHT + GAP)
        sheet.text(
            x, y, f"cluster {box.cluster}", size=SMALL_SIZE, bold=True, room=_DETAIL,
        )  # fmt: skip
        place = (x, y + LABEL_HEIGHT, _DETAIL, height)
        detail = map_axes(sheet, place, _in(box, crs), crs, graticule=False)
        _draw(detail, metric, [box], crs, colours)
    sheet.legend(_LEFT, foot, items, legend_width)
    return sheet.png()


def _draw(
    axes: Axes, metric: Any, boxes: Sequence[ClusterBox], crs: Any, colours: dict[int, str]
) -> None:
    metres_per_pixel = (axes.get_xlim()[1] - axes.get_xlim()[0]) / axes.get_window_extent().width
    for box in boxes:
        own = metric[metric["cluster"] == box.cluster]
        colour = colours[box.cluster]
        bounds = _in(box, crs)
        if max(bounds[2] - bounds[0], bounds[3] - bounds[1]) < _SMALL_BOX * metres_per_pixel:
            _dot(axes, [sum(bounds[::2]) / 2], [sum(bounds[1::2]) / 2], colour, 40)
            continue
        _rectangle(axes, bounds, colour, "solid")
        if not len(own):
            continue
        _rectangle(axes, tuple(own.total_bounds), colour, (0, (4, 3)))
        add_polygons(
            axes, own.geometry, facecolors=colour, edgecolors="#ffffff", linewidths=0.5, zorder=3
        )
        size = own.bounds[["maxx", "maxy"]].to_numpy() - own.bounds[["minx", "miny"]].to_numpy()
        small = own[size.max(axis=1) < _SMALL * metres_per_pixel]
        centres = small.geometry.centroid
        _dot(axes, centres.x, centres.y, colour, 13)


def _dot(axes: Axes, x: Any, y: Any, colour: str, size: float) -> None:
    axes.scatter(x, y, s=size, color=colour, edgecolors="#ffffff", linewidths=0.5, zorder=4)


def _rectangle(axes: Axes, bounds: Bounds, colour: str, line: Any) -> None:
    west, south, east, north = bounds
    axes.add_patch(
        Rectangle(
            (west, south), east - west, north - south, facecolor=(*_tint(colour), 0.06),
            edgecolor=colour, linewidth=1.4 if line == "solid" else 0.9, linestyle=line, zorder=2,
        )
    )  # fmt: skip


def _tint(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))  # type: ignore[return-value]  # three of them


def _in(box: ClusterBox, crs: Any) -> Bounds:
    """Return the bounds of a box in the map's CRS."""
    if CRS.from_user_input(box.crs) == CRS.from_user_input(crs):
        return box.bounds
    bounds: Bounds = Transformer.from_crs(box.crs, crs, always_xy=True).transform_bounds(
        *box.bounds
    )
    return bounds


def _kilometres(bounds: Bounds) -> str:
    width, height = (bounds[2] - bounds[0]) / 1000, (bounds[3] - bounds[1]) / 1000
    digits = 1 if max(width, height) >= 1 else 2
    return f"{width:.{digits}f} × {height:.{digits}f} km"
