"""Running a complete catalog of 2,000 chips again: nothing is left to ask.

Ours finds that out from the catalog and the files' sizes and times. The old way knows nothing and
cuts everything again; re-reading and re-hashing every file is the surest way to know.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from geo_assets.storage.chips.verification import verify_chips
from geo_assets.storage.rasters.cog import read_geobox
from geo_assets_tests.benchmarks import chip_cutting
from geo_assets_tests.benchmarks.model import OURS, Approach, Benchmark, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rasterio.windows import Window

SIZE, STRIDE = 64, 32  # small: what is measured costs by the chip, not by the pixel
RESULTS = "results"
HASHED = "re-reading and re-hashing every chip"


def make(inputs: Path, size: int) -> None:
    chip_cutting.write_composite(inputs, size, missing=0)
    image = inputs / chip_cutting.IMAGE
    wanted = chip_cutting.specs(read_geobox(image), _windows(inputs))
    chip_cutting.converge(image, wanted, inputs / RESULTS)


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    image = inputs / chip_cutting.IMAGE
    wanted = chip_cutting.specs(read_geobox(image), _windows(inputs))
    with watch.time():
        report = chip_cutting.converge(image, wanted, inputs / RESULTS)
    if report.asked or report.ok != len(wanted):
        raise AssertionError(f"{len(wanted)} chips, of them {report.asked} asked, {report.ok} ok")
    (output / "chips").symlink_to(inputs / RESULTS / "chips", target_is_directory=True)


def old_way(inputs: Path, output: Path, watch: Stopwatch) -> None:
    wanted = _windows(inputs)
    (output / "chips").mkdir()
    with watch.time():
        chip_cutting.cut_one_by_one(inputs / chip_cutting.IMAGE, wanted, output / "chips")


def hashed(inputs: Path, output: Path, watch: Stopwatch) -> None:
    store = chip_cutting.store_in(inputs / RESULTS)
    with watch.time():
        report = verify_chips(store.paths, store.collection)
    if report.corrupt or report.checked != len(_windows(inputs)):
        raise AssertionError(f"{report.checked} chips checked, {len(report.corrupt)} corrupt")
    (output / "chips").symlink_to(inputs / RESULTS / "chips", target_is_directory=True)


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    folders = {name: (output / "chips").resolve() for name, output in outputs.items()}
    chip_cutting.check_chips(inputs / chip_cutting.IMAGE, _windows(inputs), folders)
    return {}


def _windows(inputs: Path) -> list[Window]:
    side = read_geobox(inputs / chip_cutting.IMAGE).shape[0]
    return chip_cutting.windows(side, SIZE, STRIDE)[:2000]


BENCHMARKS = [
    Benchmark(
        name="chips_rerun_2000",
        make=make,
        # The least side with 2,000 windows.
        size=SIZE + isqrt(2000 - 1) * STRIDE,
        quick_size=SIZE + 2 * STRIDE,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(chip_cutting.OLD_WAY, old_way),
            Approach(HASHED, hashed),
        ),
        check=check,
    )
]
