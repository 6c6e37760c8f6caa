"""What a median costs for more pixels and for more dates: four sizes of each, beside bottleneck."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.benchmarks import median_composite
from geo_assets_tests.benchmarks.median_composite import BOTTLENECK
from geo_assets_tests.benchmarks.model import OURS, Approach, Benchmark, Quantity, Stopwatch

if TYPE_CHECKING:
    from pathlib import Path

SIDE, DATES = 1024, 12


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    median_composite.ours(inputs, output, watch)
    _note(inputs, watch)


def with_bottleneck(inputs: Path, output: Path, watch: Stopwatch) -> None:
    median_composite.with_bottleneck(inputs, output, watch)
    _note(inputs, watch)


def _note(inputs: Path, watch: Stopwatch) -> None:
    pixels = np.load(inputs / "data.npy", mmap_mode="r").size
    watch.note("cpu_of_a_million", watch.cpu_seconds / pixels * 1e6)


def _benchmark(side: int, dates: int) -> Benchmark:
    return Benchmark(
        name=f"median_scaling_{side}_{dates}",
        make=partial(median_composite.make, dates=dates),
        size=side,
        quick_size=64,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(BOTTLENECK, with_bottleneck, requires=("bottleneck",)),
        ),
        check=median_composite.check,
        quantities=(Quantity(), Quantity("cpu_of_a_million", "s")),
    )


BENCHMARKS = [
    *(_benchmark(side, DATES) for side in (512, SIDE, 2048, 4096)),
    *(_benchmark(SIDE, dates) for dates in (6, 24, 48, 96)),
]
