"""The MGRS tiles of a cluster: its scenes by tile, and the grid of each tile within the cluster."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from odc.geo.geobox import geobox_intersection_conservative

from geo_assets.core.grids import crs_of, window_of
from geo_assets.errors import SourceError
from geo_assets.products.area_grid import grid_of_area
from geo_assets.sources.scenes.mgrs_tiles import mgrs_tile
from geo_assets.sources.scenes.order import scene_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from odc.geo.geobox import GeoBox

    from geo_assets.campaign import Grid
    from geo_assets.core.areas import ClusterBox
    from geo_assets.sources.protocol import Item, Source


def items_by_tile(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Return scenes by the MGRS tile they were cut for, tiles in order.

    Raises:
        SourceError: If a scene says of no tile that it was cut for it.
    """
    tiles: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        tile = mgrs_tile(item)
        if tile is None:
            raise SourceError(
                f"cube.cube_by: tile: scene {item['id']} names no MGRS tile (s2:mgrs_tile, "
                "grid:code, mgrs:grid_square or its id); choose cube_by: cluster"
            )
        tiles[tile].append(item)
    return dict(sorted(tiles.items()))


def grid_of_tile(
    source: Source, box: ClusterBox, items: Sequence[Item], bands: Sequence[str], rules: Grid
) -> GeoBox | None:
    """Return the pixel grid of the part of a tile that a cluster needs; None if they do not meet.

    The CRS is the tile's, whatever the campaign states for clusters; so are the pixels, unless it
    states their size.

    Args:
        source: Knows the grid of each scene.
        box: The cluster's area.
        items: The tile's scenes.
        bands: Bands that are read.
        rules: The campaign's choice of resolution.
    """
    grid = grid_of_area(source, box, items, bands, rules.model_copy(update={"crs": "auto"}))
    if grid is None:
        return None
    crs = crs_of(grid)
    own = [item for item in items if crs_of(source.native_geobox(item, bands[0])) == crs]
    first = min(own, key=lambda item: (scene_time(item), item["id"]))
    tile = min(
        (source.native_geobox(first, band) for band in bands),
        key=lambda native: abs(native.resolution.x),
    )
    if not grid.extent.intersects(tile.extent):
        return None
    if rules.resolution != "native":
        # The tile in pixels of the stated size, whose lattice is not its own.
        tile = window_of(grid, replace(box, crs=str(crs), bounds=tile.boundingbox.bbox))
    within = geobox_intersection_conservative([grid, tile])
    return None if 0 in within.shape else within
