"""What the tests of label assets share: partitions of the demo, and small cubes for them."""

from __future__ import annotations

import json
import logging

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.assets.step import Partition
from geo_assets.campaign_file import load_campaign
from geo_assets.core.workers import Threads
from geo_assets.resources import ImagerySource
from geo_assets.storage.cubes.days import CHECKSUM_ATTRIBUTE
from geo_assets.storage.cubes.opening import MISSING
from geo_assets.storage.layout import Layout
from geo_assets_tests.storage.cubes.written_cube import write_cube

DAYS = np.array(["2021-02-03", "2021-05-04", "2021-06-05", "2021-10-06"], "datetime64[D]")
GRID = GeoBox((60, 80), Affine(10, 0, 700_000, 0, -10, 5_480_000), "EPSG:32632")


def a_partition(folder, key="north|train", **sections):
    """A partition of the demo whose sections have other values: ``spatial_labels={...}``.

    Each date has a model of its own unless they say otherwise.
    """
    campaign = load_campaign("demo")
    sections["spatial_labels"] = {"fit": "date"} | sections.get("spatial_labels", {})
    changes = {
        name: getattr(campaign, name).model_copy(update=values) for name, values in sections.items()
    }
    fold, split = key.split("|")
    return Partition(
        campaign.model_copy(update=changes),
        Layout(folder, "demo"),
        fold,
        split,
        ImagerySource(),
        "run",
        logging.getLogger("labels"),
        Threads(2),
    )


def two_kinds(seed=1, noise=300):
    """NDVI of two kinds of land, the third day all cloud, a corner always missing; the kinds."""
    rng = np.random.default_rng(seed)
    kind = np.zeros(GRID.shape.yx, int)
    kind[:, 40:] = 1
    seasons = np.array([[1500, 7000, 8000, 2000], [6000, 6500, 3000, 6500]])
    values = seasons[kind].transpose(2, 0, 1) + rng.normal(0, noise, (4, *GRID.shape.yx))
    values = np.clip(values, -10_000, 10_000).astype(np.int16)
    values[2] = MISSING
    values[:, :5, :5] = MISSING
    return values, kind


def write_ndvi(partition, values, cluster=0, days=DAYS, grid=GRID, *, tile=None, checksum=None):
    path = partition.layout.ndvi_cube(partition.fold, partition.split, cluster, tile=tile)
    said = {} if checksum is None else {CHECKSUM_ATTRIBUTE: checksum}
    write_cube(path, {"ndvi": values}, np.asarray(days).astype("datetime64[ms]"), grid, said)
    return path


def read_labels(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def picture_bytes(facts, name):
    """The PNG of a picture in the metadata."""
    import base64

    text = facts[name].value
    return base64.b64decode(text.split("base64,")[1].rstrip(")"))
