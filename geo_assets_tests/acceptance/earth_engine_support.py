"""The cashew campaign over ten summers in North Dakota: its areas, its images and its oracle."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import rasterio
import shapely
from rasterio.features import rasterize

from geo_assets_tests.acceptance.support import render
from geo_assets_tests.emulators.earth_engine import Assets, ImageFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from affine import Affine
    from numpy.typing import NDArray

COLLECTION = "projects/planet-nicfi/assets/basemaps/africa"
TABLE = "projects/cashew/assets/labels_{fold}"
FOLDS = ("fold1", "fold2", "fold3")
SPLITS = ("train", "validation", "test")
BANDS = ("B", "G", "R", "N")
FILE_BANDS = ("R", "G", "B", "N")
CRS = "EPSG:26914"
WEST, SOUTH, EAST, NORTH = 485_910, 5_205_640, 490_560, 5_209_230
"""Within every year's image."""


def write_areas(folder: Path) -> None:
    """Write label polygons for each fold: some for each split, some of which meet others."""
    for number, fold in enumerate(FOLDS):
        rng = np.random.default_rng(number)
        rows = []
        for index in range(12):
            x = rng.uniform(WEST + 300, EAST - 300)
            y = rng.uniform(SOUTH + 300, NORTH - 300)
            blob = shapely.Point(x, y).buffer(rng.uniform(30, 110), quad_segs=2)
            rows.append((SPLITS[index % 3], shapely.affinity.rotate(blob, 360 * rng.random())))
        frame = geopandas.GeoDataFrame(
            {"split": [split for split, _ in rows]}, geometry=[g for _, g in rows], crs=CRS
        )
        frame.to_crs("EPSG:4326").to_file(folder / f"areas_{fold}.geojson", driver="GeoJSON")


def serve_assets(real_data: Path, areas: Path | None = None) -> Assets:
    """Return what the loopback service offers: ten monthly images, a biannual one, the tables."""
    assets = Assets()
    images = [
        ImageFile(
            index=f"planet_medres_normalized_analytic_{scene.day:%Y-%m}_mosaic",
            path=scene.path,
            bands=FILE_BANDS,
            properties={"cadence": "monthly"},
            time_start=dt.datetime.combine(scene.day, dt.time(), dt.UTC),
        )
        for scene in scenes_of(real_data)
    ]
    # Of the same days and other pixels: one that slips in changes every median.
    other = ImageFile(
        index="planet_medres_normalized_analytic_2009-06_2009-11_mosaic",
        path=scenes_of(real_data)[-1].path,
        bands=FILE_BANDS,
        properties={"cadence": "biannual"},
        time_start=images[0].time_start,
    )
    assets.add_collection(COLLECTION, [*images, other])
    for fold in FOLDS if areas is not None else ():
        assets.add_table(TABLE.format(fold=fold), areas / f"areas_{fold}.geojson")
    return assets


@dataclass(frozen=True)
class NaipScene:
    """One summer's image as rasterio reads it."""

    path: Path
    day: dt.date

    @cached_property
    def pixels(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Affine]:
        """Bands B, G, R, N (band, y, x); where there is a datum (y, x); the transform."""
        with rasterio.open(self.path) as file:
            data = file.read([FILE_BANDS.index(band) + 1 for band in BANDS])
            return data, file.dataset_mask() > 0, file.transform


def scenes_of(real_data: Path) -> list[NaipScene]:
    """Return the ten images by date."""
    scenes = []
    for path in sorted((real_data / "naip_north_dakota/items").glob("*/*.json")):
        item = json.loads(path.read_text())
        day = dt.date.fromisoformat(item["properties"]["datetime"][:10])
        scenes.append(NaipScene(path.parent / "image.tif", day))
    return sorted(scenes, key=lambda scene: scene.day)


def median_by_hand(
    scenes: list[NaipScene], transform: Affine, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the median over all images on a grid, nearest, rounded half to even, and validity.

    numpy in float64 on whole arrays; nothing of the package and nothing of the service.
    """
    rows, cols = shape
    x = transform.c + (np.arange(cols) + 0.5) * transform.a
    y = transform.f + (np.arange(rows) + 0.5) * transform.e
    stack = np.full((len(scenes), len(BANDS), rows, cols), np.nan)
    for number, scene in enumerate(scenes):
        data, valid, own = scene.pixels
        col = np.floor((x - own.c) / own.a).astype(int)
        row = np.floor((y - own.f) / own.e).astype(int)
        inside = np.outer((row >= 0) & (row < valid.shape[0]), (col >= 0) & (col < valid.shape[1]))
        row, col = np.clip(row, 0, valid.shape[0] - 1), np.clip(col, 0, valid.shape[1] - 1)
        there = inside & valid[np.ix_(row, col)]
        stack[number] = np.where(there, data[:, row[:, None], col], np.nan)
    valid = ~np.isnan(stack).all(axis=(0, 1))
    median = np.nanmedian(np.where(valid, stack, 0), axis=0)
    return np.rint(median).astype(np.uint8), valid


def labels_by_hand(
    areas: Path, fold: str, split: str, transform: Affine, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the label band as rasterio burns it: class 1, and 255 where another split's lie."""
    frame = geopandas.read_file(areas / f"areas_{fold}.geojson").to_crs(CRS)

    def burned(polygons: geopandas.GeoSeries) -> NDArray[np.bool_]:
        band: NDArray[np.uint8] = rasterize(
            polygons, out_shape=shape, transform=transform, all_touched=True, dtype="uint8"
        )
        return band > 0

    own = burned(frame.geometry[frame["split"] == split])
    other = burned(frame.geometry[frame["split"] != split])
    return np.where(other, 255, own).astype(np.uint8)


def cashew(folder: Path, **changes: Any) -> Path:
    """Write campaign and areas, and return the campaign's file."""
    values = {
        "domain": "cashew",
        "confirm": "once",
        "tables": "null",
        "size": 32,
        "overlap": 0.0,
        "keep": "labelled",
        "format": "tif",
    }
    path = render("cashew_naip", folder, **(values | changes))
    write_areas(folder)
    return path


def partitions() -> Iterator[tuple[str, str]]:
    for fold in FOLDS:
        for split in SPLITS:
            yield fold, split
