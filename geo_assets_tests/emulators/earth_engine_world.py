"""A small world for the loopback Earth Engine, and ways to ask it as the official client does."""

from __future__ import annotations

import datetime as dt
import io
import json

import ee
import numpy as np
import pytest
import rasterio
from affine import Affine

from geo_assets_tests.emulators.earth_engine import Assets, ImageFile
from geo_assets_tests.emulators.earth_engine.evaluation import (
    evaluate,
    info,
    render,
)
from geo_assets_tests.sources.earth_engine.scripted import session_with

CRS = "EPSG:32633"
GRID = Affine(10, 0, 500_000, 0, -10, 5_000_000)
COLLECTION = "projects/p/assets/scenes"
SHAPE = (24, 30)


@pytest.fixture(autouse=True)
def client():
    """The official client, with the algorithms that its own wheel lists."""
    session_with().prepare()


def numbers(seed, *, bands=2, dtype="uint16"):
    return np.random.default_rng(seed).integers(1, 1000, (bands, *SHAPE)).astype(dtype)


def written(path, data, transform=GRID, nodata=0):
    with rasterio.open(
        path, "w", driver="GTiff", count=len(data), height=data.shape[1], width=data.shape[2],
        dtype=data.dtype, crs=CRS, transform=transform, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(data)
    return path


@pytest.fixture
def world(tmp_path):
    """Four scenes of two bands on one grid, the first pixels of some masked, and their arrays."""
    arrays, files = [], []
    for number in range(4):
        data = numbers(number)
        data[:, :number, :] = 0
        day = dt.datetime(2020, 1 + number, 5, tzinfo=dt.UTC)
        path = written(tmp_path / f"{number}.tif", data)
        files.append(ImageFile(f"s{number}", path, day, ("R", "N"), {"cloud": 10 * number}))
        arrays.append(data)
    assets = Assets()
    assets.add_collection(COLLECTION, files)
    return assets, np.stack(arrays)


def asked(value, assets):
    """What the service makes of an object of the client."""
    return evaluate(ee.serializer.encode(value, for_cloud_api=True), assets)


def told(value, assets):
    """What ``getInfo`` would give, through JSON as on the wire."""
    return json.loads(json.dumps(info(asked(value, assets))))


def grid_of(shape=SHAPE, transform=GRID, crs=CRS):
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    return {
        "dimensions": {"height": shape[0], "width": shape[1]},
        "affineTransform": dict(zip(names, list(transform)[:6], strict=True)),
        "crsCode": crs,
    }


def pixels(value, assets, **grid):
    """The record array that a request for NPY gives."""
    return np.load(io.BytesIO(render(asked(value, assets), "NPY", grid_of(**grid))))


def scene(number=0):
    return ee.Image(f"{COLLECTION}/s{number}")


def masked(arrays):
    return np.where(arrays == 0, np.nan, arrays.astype(float))
