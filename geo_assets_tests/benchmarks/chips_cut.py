"""Cutting 256 chips of 256² × 5 bands from a COG, side by side (overlap 0) and at overlap 0.8.

Ours also checks, hashes and syncs every chip, gives it its name atomically and writes the catalog.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from geo_assets.storage.cog import read_geobox
from geo_assets_tests.benchmarks import chip_cutting
from geo_assets_tests.benchmarks.model import OURS, Approach, Benchmark, Quantity, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rasterio.windows import Window

SIZE = 256
OLD_WAY, KEPT_OPEN = chip_cutting.OLD_WAY, "read window, write, source kept open"


def make(inputs: Path, size: int) -> None:
    chip_cutting.write_composite(inputs, size, missing=0.05)


def ours(inputs: Path, output: Path, watch: Stopwatch, *, stride: int) -> None:
    image = inputs / chip_cutting.IMAGE
    wanted = chip_cutting.specs(read_geobox(image), _windows(inputs, stride))
    with watch.time():
        report = chip_cutting.converge(image, wanted, output)
    if report.ok != len(wanted):
        raise AssertionError(f"{report.ok} of {len(wanted)} chips are ok")


def old_way(inputs: Path, output: Path, watch: Stopwatch, *, stride: int) -> None:
    wanted = _windows(inputs, stride)
    with watch.time():
        chip_cutting.cut_one_by_one(inputs / chip_cutting.IMAGE, wanted, output)


def kept_open(inputs: Path, output: Path, watch: Stopwatch, *, stride: int) -> None:
    wanted = _windows(inputs, stride)
    with watch.time():
        chip_cutting.cut_from_one_file(inputs / chip_cutting.IMAGE, wanted, output)


def decode(inputs: Path, _: Path, watch: Stopwatch) -> None:
    import rasterio

    with watch.time(), rasterio.open(inputs / chip_cutting.IMAGE) as source:
        source.read()
        source.dataset_mask()


def check(inputs: Path, outputs: Mapping[str, Path], *, stride: int) -> dict[str, dict[str, float]]:
    chip_cutting.check_chips(inputs / chip_cutting.IMAGE, _windows(inputs, stride), outputs)
    return {}


def _windows(inputs: Path, stride: int) -> list[Window]:
    side = read_geobox(inputs / chip_cutting.IMAGE).shape[0]
    return chip_cutting.windows(side, SIZE, stride)


def _benchmark(name: str, side: int, stride: int, goal: float) -> Benchmark:
    return Benchmark(
        name=name,
        make=make,
        size=side,
        quick_size=SIZE + stride,
        approaches=(
            Approach(OURS, partial(ours, stride=stride), "ours"),
            Approach(OLD_WAY, partial(old_way, stride=stride)),
            Approach(KEPT_OPEN, partial(kept_open, stride=stride)),
            Approach("decoding the COG once", decode, "limit"),
        ),
        check=partial(check, stride=stride),
        quantities=(Quantity(goals={OLD_WAY: goal}),),
    )


BENCHMARKS = [
    _benchmark("chips_cut_overlap_0", side=4096, stride=SIZE, goal=5),
    # int(256 × 0.2): a stride is whole pixels.
    _benchmark("chips_cut_overlap_0.8", side=SIZE + 15 * 51, stride=51, goal=11),
]
