"""Pictures of chips: a contact sheet with every status in sight, and the map of statuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geo_assets.previews.cartography import add_polygons, map_axes, metric_crs, north_arrow
from geo_assets.previews.composites import draw_outlines, outline_legend
from geo_assets.previews.palette import CHECKER, MUTED, STATUS_COLOURS, STATUS_NAMES
from geo_assets.previews.raster import Array, Mask, as_bands, display_shape, validity
from geo_assets.previews.rgb import percentile_limits, shown
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

    from numpy.typing import NDArray

    from geo_assets.previews.palette import ClassTable

MAX_TILES: Final = 24
_COLUMNS: Final = 8
_TILE: Final = 96
_TILE_PIXELS: Final = 150_000
_FAILED_GROUND: Final = "#fbe9df"
_MAX_MAPS: Final = 8


@dataclass(frozen=True)
class ChipTile:
    """One chip of a contact sheet."""

    name: str
    """What is written above the tile, such as row and column."""
    status: str
    """``ok``, ``no_imagery`` or ``failed``."""
    data: Array | None = None
    """Red, green and blue (3, y, x), or one band; None where there is no file."""
    valid: Mask | None = None
    """True = datum, (y, x) or (band, y, x)."""
    labels: NDArray[np.uint8] | None = None
    """Label band (y, x)."""
    error_kind: str | None = None
    """Why a failed chip failed."""


def sample_rows(statuses: Sequence[str], limit: int = MAX_TILES) -> list[int]:
    """Return which rows a contact sheet shows: spread evenly, at most a third not ``ok``.

    Returns:
        Rising row numbers, at most ``limit``; with fewer rows, all of them.
    """
    if len(statuses) <= limit:
        return list(range(len(statuses)))
    good = [row for row, status in enumerate(statuses) if status == "ok"]
    other = [row for row, status in enumerate(statuses) if status != "ok"]
    others = min(len(other), max(limit // 3, limit - len(good)))
    return sorted(_spread(other, others) + _spread(good, limit - others))


def contact_sheet(
    tiles: Sequence[ChipTile],
    classes: ClassTable | None = None,
    *,
    counts: dict[str, int] | None = None,
    title: str = "Chips",
) -> bytes:
    """Return the tiles (the first 24) side by side, stretched alike, framed by their status.

    Args:
        tiles: The chips to show.
        classes: Names and colours of the label values.
        counts: Chips by status in the whole catalog; None = those of the tiles.
        title: Heading.
    """
    if not tiles:
        return nothing_here(title, "no chips in this fold and split")
    counts = counts or dict(Counter(tile.status for tile in tiles))
    tiles = tiles[:MAX_TILES]
    limits = _shared_limits(tiles)
    columns = min(_COLUMNS, len(tiles))
    side = _tile_side(tiles)
    rows = -(-len(tiles) // columns)
    width = max(2 * MARGIN + columns * (side + GAP) - GAP, 420)
    legends = [
        _status_legend([key for key in STATUS_COLOURS if counts.get(key)]),
        outline_legend(classes or {}, [tile.labels for tile in tiles if tile.labels is not None]),
    ]
    subtitle = _tally(counts)
    if sum(counts.values()) > len(tiles):
        subtitle += f"  ·  {len(tiles)} shown"
    top = Sheet.top(title, subtitle)
    foot = top + rows * (side + LABEL_HEIGHT + GAP)
    legend_width = width - 2 * MARGIN
    probe = Sheet(width, 1)
    foot_height = sum(probe.legend_height(items, legend_width) for items in legends)
    sheet = Sheet(width, foot + foot_height + MARGIN - 4, title, subtitle)
    for index, tile in enumerate(tiles):
        x = MARGIN + index % columns * (side + GAP)
        y = top + index // columns * (side + LABEL_HEIGHT + GAP)
        sheet.text(x, y, tile.name, size=SMALL_SIZE, colour=MUTED, room=side)
        _draw_tile(sheet, tile, (x, y + LABEL_HEIGHT, side), limits, classes or {})
    for items in legends:
        foot = sheet.legend(MARGIN, foot, items, legend_width)
    return sheet.png()


def status_map(chips: Any, *, title: str = "Chips by status") -> bytes:
    """Return the map of chip footprints coloured by status, one map per cluster (up to 8).

    Args:
        chips: GeoDataFrame in EPSG:4326 with ``geometry``, ``status`` and ``cluster``.
        title: Heading.
    """
    if not len(chips):
        return nothing_here(title, "no chips in this fold and split")
    crs = metric_crs(chips)
    metric = chips.to_crs(crs)
    clusters = sorted(metric["cluster"].unique().tolist())
    more = len(clusters) - _MAX_MAPS
    clusters = clusters[:_MAX_MAPS]
    columns = min(len(clusters), 4)
    side = {1: 360, 2: 280, 3: 230}.get(columns, 200)
    rows = -(-len(clusters) // columns)
    subtitle = _tally(Counter(metric["status"].tolist()))
    if more > 0:
        subtitle += f"  ·  {_MAX_MAPS} of {_MAX_MAPS + more} clusters shown"
    top = Sheet.top(title, subtitle)
    step_x, step_y = side + 18 + GAP, side + LABEL_HEIGHT + 16 + GAP
    foot = top + rows * step_y
    sheet = Sheet(MARGIN + columns * step_x + 6, foot + 30, title, subtitle)
    for index, cluster in enumerate(clusters):
        own = metric[metric["cluster"] == cluster]
        x = MARGIN + 18 + index % columns * step_x
        y = top + index // columns * step_y
        sheet.text(x, y, f"cluster {cluster}", size=SMALL_SIZE, bold=True)
        sheet.text(
            x + side, y, _tally(Counter(own["status"].tolist())), size=SMALL_SIZE,
            colour=MUTED, align="right", room=side - 70,
        )  # fmt: skip
        place = (x, y + LABEL_HEIGHT, side, side)
        axes = map_axes(sheet, place, tuple(own.total_bounds), crs)
        # Failed chips last: where footprints overlap, they are what must be seen.
        for status, colour in STATUS_COLOURS.items():
            footprints = own.geometry[own["status"] == status]
            add_polygons(
                axes, footprints, facecolors=colour + "99", edgecolors=colour, linewidths=0.8,
                hatch="////" if status == "failed" else None,
                zorder=2 + list(STATUS_COLOURS).index(status),
            )  # fmt: skip
        if index == 0:
            north_arrow(axes)
    items = _status_legend(list(STATUS_COLOURS))
    sheet.legend(MARGIN + 18, foot, items, sheet.width - 2 * MARGIN)
    return sheet.png()


def _draw_tile(
    sheet: Sheet,
    tile: ChipTile,
    place: tuple[int, int, int],
    limits: NDArray[np.float64] | None,
    classes: ClassTable,
) -> None:
    x, y, side = place
    colour = STATUS_COLOURS.get(tile.status, STATUS_COLOURS["failed"])
    if tile.data is not None and tile.status == "ok":
        height, width = display_shape(tile.data.shape[-2:], side, side)
        photograph, known = shown(tile.data, tile.valid, (height, width), limits=limits)
        x, y = x + (side - width) // 2, y + (side - height) // 2
        sheet.photo(x, y, photograph, known)
        if tile.labels is not None:
            draw_outlines(sheet, (x, y), tile.labels, classes, known.shape)
        sheet.frame(x, y, width, height, colour=colour, line=2)
        return
    if tile.status == "no_imagery":
        sheet.fill(x, y, side, side, CHECKER[0])
        lines = ["no", "imagery"]
    else:
        sheet.fill(x, y, side, side, _FAILED_GROUND)
        sheet.hatch(x, y, side, side, "#f3c6ab")
        lines = ["failed", *(tile.error_kind or "").split("_")]
    lines = [line for line in lines if line]
    for index, line in enumerate(lines):
        upper = y + side // 2 - 8 * len(lines) + 16 * index
        room = min(side - 12, sheet.text_width(line, SMALL_SIZE, bold=index == 0))
        if tile.status != "no_imagery":
            sheet.fill(x + (side - room) // 2 - 3, upper - 1, room + 6, 16, _FAILED_GROUND)
        sheet.text(
            x + side / 2, upper + 1, line, size=SMALL_SIZE, bold=index == 0, align="center",
            colour=MUTED if tile.status == "no_imagery" else "#8f3b00", room=side - 8,
        )  # fmt: skip
    sheet.frame(x, y, side, side, colour=colour, line=2)


def _tile_side(tiles: Sequence[ChipTile]) -> int:
    room = min(2 * _TILE if len(tiles) <= 4 else _TILE, int((_TILE_PIXELS / len(tiles)) ** 0.5))
    shapes = [tile.data.shape[-2:] for tile in tiles if tile.data is not None]
    # Small chips grow by whole factors only: the tile is made for them, not they for the tile.
    return max((max(display_shape(shape, room, room)) for shape in shapes), default=room)


def _status_legend(statuses: Sequence[str]) -> list[LegendItem]:
    return [
        LegendItem(STATUS_NAMES[key], STATUS_COLOURS[key], "hatch" if key == "failed" else "fill")
        for key in statuses
    ]


def _shared_limits(tiles: Sequence[ChipTile]) -> NDArray[np.float64] | None:
    """Return one stretch for all tiles: chips of one scene must look like one scene."""
    pixels = []
    for tile in tiles:
        if tile.data is not None and tile.status == "ok":
            bands = as_bands(tile.data)
            pixels.append(bands[:, validity(bands, tile.valid)])
    if not pixels or len({len(part) for part in pixels}) > 1:
        return None
    together = np.concatenate(pixels, axis=1)
    return percentile_limits(together[:, np.newaxis])


def _tally(counts: dict[str, int] | Counter[str]) -> str:
    return "  ·  ".join(
        f"{counts[status]:,} {name}" for status, name in STATUS_NAMES.items() if counts.get(status)
    )


def _spread(rows: Sequence[int], count: int) -> list[int]:
    if count <= 0:
        return []
    positions = np.linspace(0, len(rows) - 1, count).round().astype(int)
    return [rows[position] for position in positions.tolist()]
