"""Composites of scenes in memory, and the same by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import rasterio
from rasterio.features import rasterize

from geo_assets.products.composites.builder import CompositeBuilder, Labels
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets_tests.sources.memory_source import CRS, days_by_hand, grid, polygons, random_scene

BANDS = ("B04", "B08")
AREA = grid(150, 170, row=10, col=20)
OWN = polygons((30, 40, 25, 31), (50, 60, 30, 30), classes=[3, 1])
OTHER = polygons((70, 50, 20, 25))


def rules(**changes):
    default = CompositeRules(BANDS, "median", None, CloudRules(), True, "max")
    return replace(default, **changes)


def builder_of(source, geobox=AREA, *, labels=None, tags=None, **changes):
    return CompositeBuilder(
        source, source.items, geobox, rules(**changes), labels or Labels(OWN, OTHER), tags or {}
    )


def scenes(dtype="uint16"):
    """Four days, one of them in two scenes; an even number, so that medians have halves."""
    whole, east = grid(220, 220), grid(220, 130, col=90)
    return [
        random_scene(1, "A1", "2021-05-01", whole, dtype=dtype),
        random_scene(2, "A2", "2021-05-01", whole, dtype=dtype, baseline="05.10"),
        random_scene(3, "B1", "2021-05-11", east, dtype=dtype),
        random_scene(4, "C1", "2021-04-11", whole, dtype=dtype),
        random_scene(5, "D1", "2021-06-11", whole, dtype=dtype),
    ]


def median_by_hand(given_scenes, geobox, dtype, radius=0):
    stack = np.stack(list(days_by_hand(given_scenes, geobox, radius).values()))
    valid = ~np.isnan(stack).all(axis=(0, 1))
    with np.errstate(all="ignore"):
        middle = np.ma.median(np.ma.masked_invalid(stack), axis=0).filled(np.nan)
    integer = np.dtype(dtype).kind in "ui"
    fill = {"u": 0, "i": -32768, "f": np.nan}[np.dtype(dtype).kind]
    rounded = np.rint(middle) if integer else middle
    return np.where(valid, rounded, fill).astype(dtype), valid


def label_by_hand(geobox, *, all_touched=True):
    def shapes(frame, value=None):
        frame = frame.to_crs(CRS).sort_values("class")
        return [(s, value or c) for s, c in zip(frame.geometry, frame["class"], strict=True)]

    return rasterize(
        shapes(OWN) + shapes(OTHER, 255),
        geobox.shape.yx,
        transform=geobox.affine,
        all_touched=all_touched,
        dtype="uint8",
    )


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() > 0
