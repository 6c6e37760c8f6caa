"""A world of one small raster and a few polygons: the whole graph runs on it in seconds.

Two folds and three splits; each but ``south|test`` has polygons, two chips' worth.
"""

from __future__ import annotations

import threading
from pathlib import Path

import dagster as dg
import geopandas
import numpy as np
import rasterio
from affine import Affine
from shapely.geometry import box

from geo_assets.build import build_defs
from geo_assets.errors import ReadError
from geo_assets.partitions import RANGE_TAGS, partition_keys
from geo_assets.resources import ImagerySource, Results
from geo_assets_tests.campaign_testing import a_campaign

SIZE = 16
TRANSFORM = Affine(10, 0, 500_000, 0, -10, 5_900_000)
SPLITS = ("train", "validation", "test")
KEYS = [f"{fold}|{split}" for fold in ("north", "south") for split in SPLITS]
EMPTY = "south|test"

CHANGES = {
    "splits": list(SPLITS),
    "areas.class_column": "crop",
    "imagery": {"kind": "raster", "file": "image.tif", "date": "2021-06-01"},
    "chips.size": SIZE,
    "cube": {"area": "box"},
    "spatial_labels.n_clusters": 2,
    "temporal_labels": {"n_clusters": 2, "every": "date"},
    "clusters.buffer_m": 100,
    "clouds.band": None,
}


def write_world(folder, changes=None):
    """Write raster, polygons and campaign below a folder and return the campaign."""
    rng = np.random.default_rng(4)
    data = rng.integers(200, 4000, (2, 6 * SIZE, 4 * SIZE)).astype("uint16")
    with rasterio.open(
        folder / "image.tif",
        "w",
        driver="GTiff",
        count=2,
        height=data.shape[1],
        width=data.shape[2],
        dtype="uint16",
        crs="EPSG:32633",
        transform=TRANSFORM,
    ) as raster:
        raster.write(data)
        raster.descriptions = ("B04", "B08")
    campaign = a_campaign(folder, CHANGES | (changes or {}))
    write_areas(folder / "areas.geojson", partition_keys(campaign))
    return campaign


def write_areas(path, keys=KEYS):
    """Write one polygon for each partition that has one."""
    rows = []
    for number, key in enumerate(keys):
        if key == EMPTY:
            continue
        x, y = TRANSFORM @ (4, SIZE * number + 4)
        fold, split = key.split("|")
        crop = ("oat", "rye")[number % 2]
        polygon = box(x, y - 80, x + 200, y)
        rows.append({"fold": fold, "split": split, "crop": crop, "geometry": polygon})
    geopandas.GeoDataFrame(rows, crs="EPSG:32633").to_crs(4326).to_file(path)


class Flaky(ImagerySource):
    """Imagery whose reads fail while a file says so: its text is the kind of failure."""

    switch: str

    def open(self, campaign, layout):
        return _FlakySource(super().open(campaign, layout), Path(self.switch))


class _FlakySource:
    def __init__(self, source, switch):
        self._source = source
        self._switch = switch
        self._lock = threading.Lock()

    def __getattr__(self, name):
        return getattr(self._source, name)

    def read(self, item, bands, geobox, **options):
        if self._switch.exists():
            kind = self._switch.read_text()
            raise ReadError("the archive is away", kind=kind, scene_id=item["id"])
        return self._source.read(item, bands, geobox, **options)


class World:
    """A campaign, its definitions, its results and a Dagster instance that forgets."""

    def __init__(self, folder, instance, changes=None):
        self.campaign = write_world(folder, changes)
        self.switch = folder / "fails"
        self.results = Results(data=str(folder / "data"))
        self.layout = self.results.layout(self.campaign.name)
        self.instance = instance
        self.defs = build_defs(
            self.campaign,
            resources={"results": self.results, "imagery": Flaky(switch=str(self.switch))},
        )

    def run(self, job, key=None, *, keys=None, tags=None, raise_on_error=True):
        """Run a job in this process, for one partition key or for a range of them."""
        if keys is not None:
            tags = dict(zip(RANGE_TAGS, keys, strict=True)) | (tags or {})
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=key, tags=tags, raise_on_error=raise_on_error
        )

    def asset(self, name):
        """Key of an asset."""
        return dg.AssetKey([self.campaign.name, name])
