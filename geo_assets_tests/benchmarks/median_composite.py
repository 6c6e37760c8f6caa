"""Median of one band over 12 and 36 dates × 2048² with no-data gaps, from an array to an array.

Each approach gets the stack as it wants it, made before the watch starts: unsigned integers with
a validity, or floats with NaN.
"""

from __future__ import annotations

from functools import partial
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
from geo_assets_tests.benchmarks.synthetic import reflectance_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

NUMPY, XARRAY, BOTTLENECK = (
    "numpy.nanmedian",
    "xarray + dask median, chunks of 512²",
    "bottleneck.nanmedian",
)
CHUNK = 512
"""Pixels a side of xarray's chunks. Their median is numpy's unless numbagg is installed, whose
compilation in every fresh process would count for xarray."""


def make(inputs: Path, size: int, dates: int) -> None:
    data, valid = zip(*reflectance_images(size, dates, missing=0.3, seed=6), strict=True)
    np.save(inputs / "data.npy", np.stack(data))
    np.save(inputs / "valid.npy", np.stack(valid))


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.core.compositing import reduce_stack

    data, valid = np.load(inputs / "data.npy"), np.load(inputs / "valid.npy")
    with watch.time():
        image, seen, _ = reduce_stack(data[:, np.newaxis], valid, "median")
    np.save(output / "median.npy", np.where(seen, image[0], np.float32(np.nan)))


def with_numpy(inputs: Path, output: Path, watch: Stopwatch) -> None:
    stack = _floats(inputs)
    with watch.time(), np.errstate(all="ignore"):
        image = np.nanmedian(stack, axis=0)
    np.save(output / "median.npy", image)


def with_xarray(inputs: Path, output: Path, watch: Stopwatch) -> None:
    import dask.array  # noqa: F401  # loaded by chunk(): importing is not what is timed
    import xarray as xr

    stack = xr.DataArray(_floats(inputs), dims=("time", "y", "x"))
    with watch.time():
        image = stack.chunk(time=-1, y=CHUNK, x=CHUNK).median("time", skipna=True).compute()
    np.save(output / "median.npy", image.values)


def with_bottleneck(inputs: Path, output: Path, watch: Stopwatch) -> None:
    import bottleneck  # type: ignore[import-untyped]  # ships no types

    stack = _floats(inputs)
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


def _benchmark(dates: int, bottleneck_goal: float) -> Benchmark:
    return Benchmark(
        name=f"median_composite_{dates}",
        make=partial(make, dates=dates),
        size=2048,
        quick_size=96,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(NUMPY, with_numpy),
            Approach(XARRAY, with_xarray, requires=("dask",)),
            Approach(BOTTLENECK, with_bottleneck, requires=("bottleneck",)),
            Approach("read the stack once", memory, "limit"),
        ),
        check=check,
        quantities=(Quantity(goals={XARRAY: 100, NUMPY: 50, BOTTLENECK: bottleneck_goal}),),
    )


BENCHMARKS = [_benchmark(12, 3), _benchmark(36, 8)]
