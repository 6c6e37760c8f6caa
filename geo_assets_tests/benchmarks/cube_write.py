"""Writing an NDVI cube of 2048² as Zarr v3, reading a map and a series, and compacting it by time.

The cube is in memory and goes the way of ``ndvi_cube``: packed and hashed by threads, staged and
published. What xarray writes in the old way holds float32 and is neither hashed, synced nor atomic.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.benchmarks.model import (
    OURS,
    Approach,
    Benchmark,
    Disagreement,
    Quantity,
    Stopwatch,
)
from geo_assets_tests.benchmarks.synthetic import MISSING, days, grid, ndvi_images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from xarray import Dataset

XARRAY = "xarray to_zarr, float32"
STORE = "cube.zarr"
MAPS = 8
"""Dates that are read, one after another."""
PIXELS = 9
"""Series that are read, one after another, at places all over the cube."""


def make(dates: int, inputs: Path, size: int) -> None:
    np.save(inputs / "ndvi.npy", np.stack(list(ndvi_images(size, dates, missing=0.3, seed=7))))


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.storage.cubes.opening import open_cube
    from geo_assets.storage.cubes.time_major import open_time_major, time_major_of

    ndvi = np.load(inputs / "ndvi.npy")
    # Once in small: loading libraries is not what is timed.
    _publish(output / "warm.zarr", ndvi[:, :64, :64])
    with watch.time():
        _publish(output / STORE, ndvi)
    _read_maps(output / STORE, open_cube, watch)
    _compact(output / STORE, watch)
    with open_time_major(output / STORE) as cube:
        _read_series(time_major_of(output / STORE), cube, watch)


def _publish(path: Path, ndvi: NDArray[np.int16]) -> None:
    """Publish a cube (time, y, x) as its builder does."""
    from geo_assets.core.workers import Threads
    from geo_assets.storage.cubes.chunk_files import PackedChunk, pack_chunk
    from geo_assets.storage.cubes.days import CubeHead, StoredDay
    from geo_assets.storage.cubes.format import index_variable
    from geo_assets.storage.cubes.publication import Changes, publish_changes
    from geo_assets.storage.cubes.stage import staged

    variable, geobox = index_variable("ndvi"), grid(ndvi.shape[-1])
    head = CubeHead(geobox, "rules", lambda _: (variable,), lambda _: {})
    slots = {str(day): slot for slot, day in enumerate(days(len(ndvi)).astype("datetime64[D]"))}
    with staged(path, len(ndvi), geobox.shape.yx) as stage:
        tasks = list(product(slots.values(), stage.chunks()))

        def pack(task: tuple[int, tuple[slice, slice, slice]]) -> PackedChunk:
            slot, (_, rows, cols) = task
            return pack_chunk(ndvi[slot, rows, cols], MISSING, stage.edges)

        for (slot, chunk), packed in zip(tasks, Threads().map(pack, tasks), strict=True):
            stage.put(slot, variable, chunk, packed)
        made = {day: StoredDay(stage.keep(slot)) for day, slot in slots.items()}
        publish_changes(path, head, Changes(made, slots), stage)


def _compact(store: Path, watch: Stopwatch) -> None:
    from geo_assets.storage.cubes.time_major import compact_cube

    with watch.time("compaction"):
        copy, _ = compact_cube(store)
    watch.note("both_sizes", _megabytes(store) + _megabytes(copy))


def with_xarray(inputs: Path, output: Path, watch: Stopwatch) -> None:
    import dask.array  # noqa: F401  # loaded by chunk(): importing is not what is timed
    import xarray as xr
    from odc.geo.xr import xr_coords

    ndvi = _floats(inputs)
    coordinates = {"time": days(len(ndvi)), **xr_coords(grid(ndvi.shape[-1]), dims=("y", "x"))}
    array = xr.DataArray(ndvi, coordinates, dims=("time", "y", "x"), name="ndvi")
    array[:, :64, :64].chunk(time=1, y=64, x=64).to_dataset().to_zarr(output / "warm")
    with watch.time():
        array.chunk(time=1, y=512, x=512).to_dataset().to_zarr(output / STORE, zarr_format=3)
    _read_maps(output / STORE, xr.open_zarr, watch)
    with xr.open_zarr(output / STORE) as cube:
        _read_series(output / STORE, cube, watch)
    # There is no second copy: what it takes to have ours is measured against the one write.
    watch.note("compaction", watch.measures[""])
    watch.note("both_sizes", _megabytes(output / STORE))


def compress(inputs: Path, _: Path, watch: Stopwatch) -> None:
    """The codec alone, two threads: what cannot be saved without another codec."""
    from numcodecs import Blosc, blosc  # type: ignore[import-untyped]  # ships no types

    blosc.use_threads = False
    ndvi = np.load(inputs / "ndvi.npy")
    codec = Blosc("zstd", clevel=1, shuffle=Blosc.SHUFFLE, blocksize=1024**2)
    corners = list(product(*(range(0, size, 1024) for size in ndvi.shape[1:])))
    chunks = [
        np.ascontiguousarray(image[row : row + 1024, col : col + 1024])
        for image in ndvi
        for row, col in corners
    ]
    with watch.time(), ThreadPoolExecutor(2) as pool:
        list(pool.map(codec.encode, chunks))


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    import xarray as xr

    wanted = _floats(inputs)
    for name, output in outputs.items():
        stores = [output / STORE, *output.glob("*.time-major.zarr")]
        if name == OURS and len(stores) != 2:
            raise Disagreement("there is no time-major copy")
        for store in stores:
            with xr.open_zarr(store) as cube:
                if not np.allclose(cube["ndvi"].values, wanted, rtol=0, atol=5e-5, equal_nan=True):
                    raise Disagreement(
                        f"{store.name} of {name} holds other values than it was given"
                    )
                if not np.array_equal(cube["time"].values, days(len(wanted))):
                    raise Disagreement(f"{store.name} of {name} has other times")
    return {name: {"size": _megabytes(output / STORE)} for name, output in outputs.items()}


def _read_maps(store: Path, opened: Callable[[Path], Dataset], watch: Stopwatch) -> None:
    """Read dates one after another: values as they are stored, and as xarray decodes them.

    From the page cache, into which each store is brought first: ours was written past it.
    """
    import zarr

    for file in store.rglob("*"):
        if file.is_file():
            file.read_bytes()
    array = zarr.open_array(store, path="ndvi", mode="r")
    dates = range(1, 1 + MAPS)
    array[0]  # the first read loads codecs; it is not timed
    with watch.time("maps"):
        for date in dates:
            array[date]
    with opened(store) as cube:
        cube["ndvi"][0].values  # noqa: B018  # reading is the work
        with watch.time("maps_decoded"):
            for date in dates:
                cube["ndvi"][date].values  # noqa: B018


def _read_series(store: Path, cube: Dataset, watch: Stopwatch) -> None:
    """Read pixels one after another: values as they are stored, and as xarray decodes them."""
    import zarr

    array = zarr.open_array(store, path="ndvi", mode="r")
    size = array.shape[-1]
    places = [(i * size // (PIXELS + 1), size - i * size // (PIXELS + 1)) for i in range(1, PIXELS)]
    array[:, 0, 0]  # the first read loads codecs; it is not timed
    with watch.time("series"):
        for row, col in places:
            array[:, row, col]
    cube["ndvi"][:, 0, 0].values  # noqa: B018  # reading is the work
    with watch.time("series_decoded"):
        for row, col in places:
            cube["ndvi"][:, row, col].values  # noqa: B018


def _floats(inputs: Path) -> NDArray[np.float32]:
    ndvi = np.load(inputs / "ndvi.npy")
    return np.where(ndvi == MISSING, np.float32(np.nan), ndvi * np.float32(1e-4))


def _megabytes(store: Path) -> float:
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file()) / 1e6


BENCHMARKS = [
    Benchmark(
        name=f"cube_write_{dates}",
        make=partial(make, dates),
        size=2048,
        quick_size=64,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(XARRAY, with_xarray, requires=("dask",)),
            Approach("compressing the chunks", compress, "limit"),
        ),
        check=check,
        quantities=(
            Quantity(goals={XARRAY: 5}),
            Quantity("maps", goals={XARRAY: 2}),
            Quantity("maps_decoded", goals={XARRAY: 2}),
            Quantity("size", "MB", {XARRAY: 1 / 0.6}),
            Quantity("series", goals={XARRAY: 20}),
            Quantity("series_decoded", goals={XARRAY: 20}),
            Quantity("compaction"),
            Quantity("both_sizes", "MB"),
        ),
    )
    for dates in (12, 48)
]
