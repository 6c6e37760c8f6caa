"""The benchmarks there are; a new one is a module with ``BENCHMARKS`` and a line here.

The names of a module's benchmarks begin with the module's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo_assets_tests.benchmarks.model import Benchmark

MODULES = (
    "kmeans_spatial",
    "kmeans_temporal",
    "land_cover",
    "median_composite",
    "median_scaling",
    "ndvi_scene",
    "cube_write",
    "chips_cut",
    "chips_rerun",
    "earth_engine_download",
    "earth_engine_memory",
)


def all_benchmarks() -> list[Benchmark]:
    """Return every benchmark, in the order in which they run."""
    return [benchmark for module in MODULES for benchmark in _benchmarks_of(module)]


def find_benchmark(name: str) -> Benchmark:
    """Return one benchmark without loading the others, whose libraries would cost memory."""
    return next(
        benchmark
        for module in MODULES
        if name.startswith(module)
        for benchmark in _benchmarks_of(module)
        if benchmark.name == name
    )


def chosen_benchmarks(names: list[str]) -> list[Benchmark]:
    """Return the benchmarks whose names begin with one of the given; all if none is given.

    Raises:
        LookupError: If a name fits no benchmark.
    """
    benchmarks = all_benchmarks()
    for name in names:
        if not any(benchmark.name.startswith(name) for benchmark in benchmarks):
            known = ", ".join(benchmark.name for benchmark in benchmarks)
            raise LookupError(f"no benchmark begins with {name!r}; there are {known}")
    return [
        benchmark
        for benchmark in benchmarks
        if not names or benchmark.name.startswith(tuple(names))
    ]


def _benchmarks_of(module: str) -> list[Benchmark]:
    benchmarks: list[Benchmark] = import_module(f"{__package__}.{module}").BENCHMARKS
    return benchmarks
