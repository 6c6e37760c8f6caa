"""How the tests read an archive: json and rasterio alone, none of the package's own code."""

from __future__ import annotations

import json

import numpy as np
import rasterio


def items(folder, tile=None):
    """All item records sorted by time and id, of one tile where it is named."""
    records = [json.loads(path.read_text()) for path in folder.glob("items/*/*.json")]
    records.sort(key=lambda item: (item["properties"]["datetime"], item["id"]))
    return [item for item in records if tile in (None, item["properties"]["s2:mgrs_tile"])]


def numbers(folder, item, band):
    with rasterio.open(folder / "items" / item["id"] / f"{band}.tif") as file:
        return file.read(1)


def reflectance(folder, item, band):
    """float32 reflectance by the record's own scale and offset; NaN without data."""
    raw = numbers(folder, item, band)
    rule = item["assets"][band]["raster:bands"][0]
    values = raw * np.float32(rule["scale"]) + np.float32(rule["offset"])
    return np.where(raw == rule["nodata"], np.float32("nan"), values)


def ndvi(folder, item):
    red, nir = (reflectance(folder, item, band) for band in ("B04", "B08"))
    return (nir - red) / (nir + red)


def classification(folder, item):
    """The SCL at 10 m."""
    return numbers(folder, item, "SCL").repeat(2, 0).repeat(2, 1)


def of_date(records, date):
    return [item for item in records if item["properties"]["datetime"].startswith(date)]


def land_cover(folder, epsg):
    with rasterio.open(folder / "truth" / f"land_cover-{epsg}.tif") as file:
        return file.read(1)
