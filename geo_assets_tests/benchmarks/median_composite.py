"""Median of 12 and 36 dates × 2048² with no-data gaps: of one band in memory, and of COGs.

In memory each approach gets the stack as it wants it, made before the watch starts: unsigned
integers with a validity, or floats with NaN. What is compiled or loaded at a first call is so
before the watch starts, for all alike.
"""

from __future__ import annotations

import warnings
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
from geo_assets_tests.benchmarks.synthetic import reflectance_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

BANDS = ("B04", "B08")
COMPOSITE = "composite.tif"
NUMPY, BOTTLENECK = "numpy.nanmedian", "bottleneck.nanmedian"
XARRAY = "xarray + dask median, a chunk for each date"
XARRAY_TILED = "xarray + dask median, rechunked to 512²"
"""Loaders (odc-stac, stackstac) give a chunk for each date; who knows dask rechunks by hand."""


def make(inputs: Path, size: int, dates: int) -> None:
    data, valid = zip(*reflectance_images(size, dates, missing=0.3, seed=6), strict=True)
    np.save(inputs / "data.npy", np.stack(data))
    np.save(inputs / "valid.npy", np.stack(valid))


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.core.compositing import reduce_stack

    data, valid = np.load(inputs / "data.npy"), np.load(inputs / "valid.npy")
    reduce_stack(data[:, np.newaxis, :8].copy(), valid[:, :8], "median")
    with watch.time():
        image, seen = reduce_stack(data[:, np.newaxis], valid, "median")
    np.save(output / "median.npy", np.where(seen, image[0], np.float32(np.nan)))


def with_numpy(inputs: Path, output: Path, watch: Stopwatch) -> None:
    stack = _floats(inputs)
    np.nanmedian(stack[:, :8], axis=0)
    with watch.time(), np.errstate(all="ignore"):
        image = np.nanmedian(stack, axis=0)
    np.save(output / "median.npy", image)


def with_xarray(inputs: Path, output: Path, watch: Stopwatch, *, tile: int | None) -> None:
    import xarray as xr

    stack = xr.DataArray(_floats(inputs), dims=("time", "y", "x")).chunk(time=1)
    stack[:, :8].median("time", skipna=True).compute()
    with watch.time():
        chunked = stack if tile is None else stack.chunk(time=-1, y=tile, x=tile)
        image = chunked.median("time", skipna=True).compute()
    np.save(output / "median.npy", image.values)


def with_bottleneck(inputs: Path, output: Path, watch: Stopwatch) -> None:
    import bottleneck  # type: ignore[import-untyped]  # ships no types

    stack = _floats(inputs)
    bottleneck.nanmedian(stack[:, :8], axis=0)
    with watch.time():
        image = bottleneck.nanmedian(stack, axis=0)
    np.save(output / "median.npy", image)


def memory(inputs: Path, _: Path, watch: Stopwatch) -> None:
    data = np.load(inputs / "data.npy")
    with watch.time():
        data.max()


def check(_: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    medians = {name: np.load(output / "median.npy") for name, output in outputs.items()}
    for name, median in medians.items():
        # Ours stays unsigned, and a median of two integers may end in a half: to even, like rint.
        if not np.array_equal(np.rint(median), medians[OURS], equal_nan=True):
            differ = np.count_nonzero(np.rint(median) != medians[OURS])
            raise Disagreement(f"{differ} pixels of {name} differ from ours")
    return {}


def _floats(inputs: Path) -> NDArray[np.float32]:
    data: NDArray[np.float32] = np.load(inputs / "data.npy").astype(np.float32)
    data[~np.load(inputs / "valid.npy")] = np.nan
    return data


def from_cogs(inputs: Path, output: Path, watch: Stopwatch) -> None:
    import geopandas

    from geo_assets.core.compositing import reduce_stack
    from geo_assets.products.composites.blocks import BlockTask, compose_block
    from geo_assets.products.composites.builder import CompositeBuilder, Labels
    from geo_assets.sources.rules import CloudRules, CompositeRules
    from geo_assets.sources.stac.source import StacRules, StacSource

    items = read_items(inputs)
    source = StacSource(StacRules(str(inputs), kind="static"))
    geobox = source.native_geobox(items[0], BANDS[0])
    rules = CompositeRules(BANDS, "median", None, CloudRules(), True, "max")
    nothing = geopandas.GeoDataFrame({"class": []}, geometry=[], crs="EPSG:4326")
    builder = CompositeBuilder(source, items, geobox, rules, Labels(nothing, nothing), {})
    compose_block(BlockTask(source, items[:2], geobox[:8, :8], rules))
    reduce_stack(np.ones((1, 1, 8, 8), np.uint16), np.ones((1, 8, 8), bool))
    with watch.time():
        builder.build(output / COMPOSITE, output / "composite.json")
    _note(watch)


def decoding(inputs: Path, _: Path, watch: Stopwatch) -> None:
    with watch.time():
        decode(inputs, (*BANDS, "SCL"))
    _note(watch)


def check_cogs(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    stacks: dict[str, list[NDArray[np.float32]]] = {band: [] for band in BANDS}
    for item in read_items(inputs):
        images = {}
        for asset in (*BANDS, "SCL"):
            with rasterio.open(item["assets"][asset]["href"]) as file:
                images[asset] = file.read(1)
        classes = images["SCL"].repeat(2, axis=0).repeat(2, axis=1)
        clear = (classes == 4) & (images[BANDS[0]] > 0) & (images[BANDS[1]] > 0)
        for band in BANDS:
            stacks[band].append(np.where(clear, images[band], np.float32(np.nan)))
    with rasterio.open(outputs[OURS] / COMPOSITE) as file:
        for number, band in enumerate(BANDS, start=1):
            stack = np.stack(stacks.pop(band))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                expected = np.nan_to_num(np.rint(np.nanmedian(stack, axis=0)))
            if not np.array_equal(file.read(number), expected):
                raise Disagreement(f"band {band} is not the median of its clear observations")
    return {}


def _note(watch: Stopwatch) -> None:
    watch.note("cpu", watch.cpu_seconds)
    watch.note("memory", watch.peak_bytes / 1e6)


def _benchmark(dates: int, bottleneck_goal: float) -> Benchmark:
    return Benchmark(
        name=f"median_composite_{dates}",
        make=partial(make, dates=dates),
        size=2048,
        quick_size=96,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(NUMPY, with_numpy),
            Approach(XARRAY, partial(with_xarray, tile=None), requires=("dask",)),
            Approach(XARRAY_TILED, partial(with_xarray, tile=512), requires=("dask",)),
            Approach(BOTTLENECK, with_bottleneck, requires=("bottleneck",)),
            Approach("read the stack once", memory, "limit"),
        ),
        check=check,
        quantities=(Quantity(goals={XARRAY: 100, NUMPY: 50, BOTTLENECK: bottleneck_goal}),),
    )


def _benchmark_of_cogs(dates: int) -> Benchmark:
    return Benchmark(
        name=f"median_composite_cogs_{dates}",
        make=partial(write_scenes, dates=dates),
        size=2048,
        quick_size=128,
        approaches=(Approach(OURS, from_cogs, "ours"), Approach(DECODING, decoding)),
        check=check_cogs,
        quantities=(
            Quantity(goals={DECODING: 1 / 1.3}),
            Quantity("cpu", goals={DECODING: 1 / 1.3}),
            Quantity("memory", "MB"),
        ),
    )


BENCHMARKS = [
    _benchmark(12, 3),
    _benchmark(36, 8),
    _benchmark_of_cogs(12),
    _benchmark_of_cogs(36),
]
