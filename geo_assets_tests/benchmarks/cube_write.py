"""Writing an NDVI cube of 12 dates × 2048² as Zarr v3, and reading one date of it as a map."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

DATES = 12
XARRAY = "xarray to_zarr, float32"
STORE = "cube.zarr"


def make(inputs: Path, size: int) -> None:
    np.save(inputs / "ndvi.npy", np.stack(list(ndvi_images(size, DATES, missing=0.3, seed=7))))


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.storage.cube import write_cube

    ndvi = np.load(inputs / "ndvi.npy")
    geobox = grid(ndvi.shape[-1])
    with watch.time():
        write_cube(output / STORE, {"ndvi": ndvi}, days(DATES), geobox)
    _read_a_map(output / STORE, watch)


def with_xarray(inputs: Path, output: Path, watch: Stopwatch) -> None:
    import dask.array  # noqa: F401  # loaded by chunk(): importing is not what is timed
    import xarray as xr
    from odc.geo.xr import xr_coords

    ndvi = _floats(inputs)
    coordinates = {"time": days(DATES), **xr_coords(grid(ndvi.shape[-1]), dims=("y", "x"))}
    array = xr.DataArray(ndvi, coordinates, dims=("time", "y", "x"), name="ndvi")
    with watch.time():
        array.chunk(time=1, y=512, x=512).to_dataset().to_zarr(output / STORE, zarr_format=3)
    _read_a_map(output / STORE, watch)


def compress(inputs: Path, _: Path, watch: Stopwatch) -> None:
    """The codec alone, two threads: what cannot be saved without another codec."""
    from numcodecs import Blosc, blosc  # type: ignore[import-untyped]  # ships no types

    blosc.use_threads = False
    ndvi = np.load(inputs / "ndvi.npy")
    codec = Blosc("zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
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
        with xr.open_zarr(output / STORE) as cube:
            if not np.allclose(cube["ndvi"].values, wanted, rtol=0, atol=5e-5, equal_nan=True):
                raise Disagreement(f"the cube of {name} does not hold the values it was given")
            if not np.array_equal(cube["time"].values, days(DATES)):
                raise Disagreement(f"the cube of {name} has other times")
    return {name: {"size": _megabytes(output / STORE)} for name, output in outputs.items()}


def _read_a_map(store: Path, watch: Stopwatch) -> None:
    import xarray as xr

    with xr.open_zarr(store) as cube:
        cube["ndvi"][0].values  # noqa: B018  # the first read loads codecs; it is not timed
        with watch.time("map"):
            cube["ndvi"][DATES // 2].values  # noqa: B018  # reading is the work


def _floats(inputs: Path) -> NDArray[np.float32]:
    ndvi = np.load(inputs / "ndvi.npy")
    return np.where(ndvi == MISSING, np.float32(np.nan), ndvi * np.float32(1e-4))


def _megabytes(store: Path) -> float:
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file()) / 1e6


BENCHMARKS = [
    Benchmark(
        name=f"cube_write_{DATES}",
        make=make,
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
            Quantity("map", goals={XARRAY: 2}),
            Quantity("size", "MB", {XARRAY: 1 / 0.6}),
        ),
    )
]
