"""Imagery, polygons and a campaign to try the loopback Earth Engine with, from nothing.

    python -m geo_assets_tests.emulators.earth_engine.trial FOLDER

Below FOLDER: ``imagery/``, STAC items of one raster each, as an Earth Engine collection has it;
label polygons; ``trial.yaml``. The pixels are those of a small simulated archive.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import rasterio

from geo_assets.core.areas import ClusterBox
from geo_assets.errors import ReadError
from geo_assets.sources.protocol import SceneQuery
from geo_assets.sources.simulated import ArchiveSpec, write_archive
from geo_assets.sources.stac.source import StacRules, StacSource

if TYPE_CHECKING:
    from geo_assets.sources.protocol import Item

SPEC = ArchiveSpec(tile_size=360)
FIRST, LAST = dt.date(2021, 5, 1), dt.date(2021, 8, 31)
BANDS = {"B2": "B02", "B3": "B03", "B4": "B04", "B8": "B08"}
"""Earth Engine's name of a band -> the archive's."""
CLASSES = "SCL"
CAMPAIGN = """\
# Served by: python -m geo_assets_tests.emulators.earth_engine --stac {folder}/imagery
name: trial
title: Fields of a simulated landscape on a loopback Earth Engine
attribution: Simulated by geo_assets
licence: CC0-1.0
domain: fields
folds: ["1", "2"]
splits: [train, validation, test]
areas:
  files: {{"1": fields_1.geojson, "2": fields_2.geojson}}
  split_column: split
  class_column: class
clusters: {{count: 2, buffer_m: 500}}
imagery: {{kind: earth-engine, collection: LOOPBACK/IMAGERY}}
start: {first}
end: {last}
composite: {{bands: [B2, B3, B4, B8]}}
chips: {{size: 64}}
"""


def write_trial(folder: Path) -> int:
    """Write everything to an empty or a missing folder; return the count of scenes.

    Scenes with a file that cannot be read are left out: the archive holds two on purpose.
    """
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "archive"
        write_archive(archive, SPEC)
        source = StacSource(StacRules(str(archive / "catalog.json"), kind="static"))
        everywhere = ClusterBox(0, "EPSG:4326", (-180.0, -80.0, 180.0, 80.0), 0)
        wanted = (*BANDS.values(), CLASSES)
        found = source.select(SceneQuery(everywhere, FIRST, LAST, wanted)).items
        count = sum(_stack(source, item, folder / "imagery" / item["id"]) for item in found)
        for number, fold in enumerate(("north", "south"), start=1):
            shutil.copyfile(
                archive / "labels" / f"{fold}.geojson", folder / f"fields_{number}.geojson"
            )
    text = CAMPAIGN.format(folder=folder, first=FIRST, last=LAST)
    (folder / "trial.yaml").write_text(text, encoding="utf-8")
    return count


def _stack(source: StacSource, item: Item, folder: Path) -> bool:
    """Write one scene as one raster and its STAC item; False if it cannot be read."""
    grid = source.native_geobox(item, "B02")
    try:
        scene = source.read(item, tuple(BANDS.values()), grid, scl_band=CLASSES)
    except ReadError:
        return False
    assert scene.scl is not None
    data = np.concatenate([scene.data, scene.scl[np.newaxis].astype(scene.data.dtype)])
    folder.mkdir(parents=True)
    names = [*BANDS, CLASSES]
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            folder / "image.tif",
            "w",
            driver="GTiff",
            width=grid.shape.x,
            height=grid.shape.y,
            count=len(data),
            dtype=data.dtype,
            crs=str(grid.crs),
            transform=grid.affine,
            tiled=True,
            compress="deflate",
        ) as file,
    ):
        file.write(data)
        file.write_mask(scene.valid)
        file.descriptions = names
    asset = {
        "href": "image.tif",
        "type": "image/tiff; application=geotiff",
        "bands": [{"name": name} for name in names],
    }
    properties = {"datetime": item["properties"]["datetime"]}
    content = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item["id"],
        "geometry": item["geometry"],
        "bbox": item["bbox"],
        "properties": properties,
        "links": [],
        "assets": {"image": asset},
    }
    (folder / "item.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return True


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Write imagery, polygons and a campaign to FOLDER."""
    if folder.exists() and any(folder.iterdir()):
        raise click.ClickException(f"{folder}: is not empty; name another folder")
    count = write_trial(folder)
    click.echo(f"{count} scenes and the campaign {folder / 'trial.yaml'}")


if __name__ == "__main__":
    main(prog_name="python -m geo_assets_tests.emulators.earth_engine.trial")
