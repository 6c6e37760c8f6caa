"""NDVI of one full scene of 10,980²: from two COGs to a published date of a cube.

A tenth is missing below clouds, and the edge of the orbit cuts off a fifth, as it does of many a
tile of Sentinel-2: so are the scenes by which the aims were set, of 137 MB a band. Files without
that edge weigh 167 MB; what they take has a row of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import rasterio

from geo_assets_tests.benchmarks.model import (
    OURS,
    Approach,
    Benchmark,
    Disagreement,
    Quantity,
    Stopwatch,
)
from geo_assets_tests.benchmarks.scene_files import DECODING, decode, read_items, write_scenes
from geo_assets_tests.benchmarks.synthetic import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OLD_WAY = "old way: float64 of the whole scene, GeoTIFF"
STORE = "cube.zarr"
BANDS = ("B04", "B08")
BEYOND_ORBIT = 0.2


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.products.cubes.builder import CubeBuilder, CubeRules
    from geo_assets.sources.rules import CloudRules
    from geo_assets.sources.stac.source import StacRules, StacSource

    items = read_items(inputs)
    source = StacSource(StacRules(str(inputs), kind="static"))
    geobox = source.native_geobox(items[0], "B04")
    rules = CubeRules("B04", "B08", CloudRules(band=None), 0.0, "none", 10.0)

    inside = np.ones(geobox.shape.yx, bool)

    def build(rows: int, name: str) -> None:
        area, mask = geobox[:rows, :rows], inside[:rows, :rows]
        CubeBuilder(source, items, area, mask, rules, {}).build(output / name)

    build(64, "warm.zarr")
    with watch.time():
        build(geobox.shape.y, STORE)
    _note(watch)


def old_way(inputs: Path, output: Path, watch: Stopwatch) -> None:
    item = read_items(inputs)[0]
    with watch.time():
        bands = []
        for band in BANDS:
            with rasterio.open(item["assets"][band]["href"]) as file:
                profile = file.profile
                bands.append(file.read(1).astype(float))
        red, nir = bands
        with np.errstate(all="ignore"):
            ndvi = np.true_divide(nir - red, nir + red)
        profile = {key: profile[key] for key in ("height", "width", "count", "crs", "transform")}
        with rasterio.open(
            output / "ndvi.tif", "w", driver="GTiff", dtype="float64", **profile
        ) as file:
            file.write(ndvi, 1)
    _note(watch)


def decoding(inputs: Path, _: Path, watch: Stopwatch) -> None:
    with watch.time():
        decode(inputs, BANDS)
    _note(watch)


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    import zarr

    del inputs
    with rasterio.open(outputs[OLD_WAY] / "ndvi.tif") as file:
        expected = file.read(1)
    steps = np.where(np.isnan(expected), MISSING, np.rint(expected * 10_000)).astype(np.int16)
    del expected
    got = np.asarray(zarr.open_group(outputs[OURS] / STORE, mode="r")["ndvi"][0])
    if not np.array_equal(got, steps):
        raise Disagreement(f"{np.count_nonzero(got != steps)} pixels of the cube differ")
    return {}


def _note(watch: Stopwatch) -> None:
    watch.note("cpu", watch.cpu_seconds)
    watch.note("memory", watch.peak_bytes / 1e6)


def _benchmark(name: str, codec: str, beyond_orbit: float) -> Benchmark:
    return Benchmark(
        name=name,
        make=partial(
            write_scenes, dates=1, compress=codec, classes=False, beyond_orbit=beyond_orbit
        ),
        size=10_980,
        quick_size=128,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(OLD_WAY, old_way),
            Approach(DECODING, decoding),
        ),
        check=check,
        quantities=(
            Quantity(goals={OLD_WAY: 11}),
            Quantity("cpu", goals={DECODING: 1 / 2}),
            Quantity("memory", "MB"),
        ),
    )


BENCHMARKS = [
    _benchmark("ndvi_scene_deflate", "deflate", BEYOND_ORBIT),
    _benchmark("ndvi_scene_zstd", "zstd", BEYOND_ORBIT),
    _benchmark("ndvi_scene_without_edge_deflate", "deflate", 0.0),
]
