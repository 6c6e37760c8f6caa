"""The truth beside the archive: land cover on both tiles' lattices, its classes, the clear-cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
from odc.geo.geom import Geometry

from geo_assets.sources.simulated.cogs import write_cog
from geo_assets.sources.simulated.covers import COLOURS, Cover
from geo_assets.sources.simulated.faults import faults_record
from geo_assets.storage.atomic import publish_json

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.sources.simulated.acquisitions import Acquisition
    from geo_assets.sources.simulated.landscape import Landscape
    from geo_assets.sources.simulated.scene import Ground
    from geo_assets.sources.simulated.tiles import Tile


def write_truth(
    folder: Path,
    landscape: Landscape,
    grounds: dict[str, Ground],
    planned: tuple[Acquisition, ...],
) -> None:
    """Write ``land_cover-{epsg}.tif``, ``classes.json``, ``clear_cut.json`` and ``faults.json``.

    Land cover is that of the start of the year: the clear-cut is forest there.
    """
    folder.mkdir()
    colours = {int(cover): _rgb(COLOURS[cover]) for cover in Cover}
    for ground in grounds.values():
        path = folder / f"land_cover-{ground.tile.epsg}.tif"
        write_cog(path, ground.cover, ground.tile.geobox, colours)
    classes = {str(int(cover)): {"name": cover.label, "colour": COLOURS[cover]} for cover in Cover}
    publish_json(folder / "classes.json", classes)
    west = next(iter(grounds.values())).tile
    publish_json(folder / "clear_cut.json", _clear_cut_record(landscape, west))
    publish_json(folder / "faults.json", faults_record(planned, west.size))


def _clear_cut_record(landscape: Landscape, west: Tile) -> dict[str, Any]:
    outline = Geometry(landscape.clear_cut, f"EPSG:{west.epsg}")
    window = west.geobox.overlap_roi(landscape.lattice.enclosing(outline))
    rows, columns = window
    around = outline.to_crs("EPSG:4326").geom
    return {
        "date": landscape.stands.felled_on.isoformat(),
        "tile": west.name,
        "crs": f"EPSG:{west.epsg}",
        "bounds": [round(bound, 2) for bound in landscape.clear_cut.bounds],
        "bbox": [round(bound, 7) for bound in around.bounds],
        "polygon": shapely.geometry.mapping(shapely.set_precision(around, 1e-7)),
        "pixel_window": {
            "row_off": rows.start,
            "col_off": columns.start,
            "height": rows.stop - rows.start,
            "width": columns.stop - columns.start,
        },
        "area_m2": round(landscape.clear_cut.area),
        "truth_value": int(Cover.FOREST),
        "looks_like_afterwards": Cover.BARE_SOIL.label,
    }


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
