"""Cutting chips of 256² × 5 bands from a COG of 10,980², side by side and at overlap 0.8.

As GeoTIFFs and as one sharded Zarr store. Ours also checks every GeoTIFF (and one chip of a store
in 16) against the pixels it was made of, hashes and syncs each, names it atomically, journals it
and writes the catalog.

The old way opens, reads and writes for each chip; it neither checks nor hashes nor syncs. The older
scripts opened a file for each band, as archives keep scenes, deflated: the aims are set against
that. It is timed on the very file that ours reads, too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from geo_assets.storage.rasters.cog import read_geobox
from geo_assets.storage.rasters.raster_blocks import RasterBlocks
from geo_assets_tests.benchmarks import chip_cutting
from geo_assets_tests.benchmarks.model import OURS, Approach, Benchmark, Quantity, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rasterio.windows import Window

    from geo_assets.core.chips import ChipFormat

SIZE = 256
SIDE = 10_980
ROWS_OF_CHIPS = 10
"""Of those that overlap, as many as begin in one row of blocks; they reach into the next. All of
them would take the old way half an hour."""
OLD_WAY = chip_cutting.OLD_WAY
OF_BANDS = "old way, of a deflated file a band"


def make(inputs: Path, size: int) -> None:
    chip_cutting.write_composite(inputs, size, missing=0.05)
    chip_cutting.write_bands(inputs)


def ours(
    inputs: Path, output: Path, watch: Stopwatch, *, stride: int, chip_format: ChipFormat
) -> None:
    image = inputs / chip_cutting.IMAGE
    wanted = chip_cutting.specs(read_geobox(image), _windows(inputs, stride))
    # Loads the code and makes the template outside of the watch, as a run of many chips would.
    chip_cutting.converge(image, wanted[:2], output / "warm", chip_format)
    with watch.time():
        report = chip_cutting.converge(image, wanted, output / "chips", chip_format)
    if report.ok != len(wanted):
        raise AssertionError(f"{report.ok} of {len(wanted)} chips are ok")


def old_way(inputs: Path, output: Path, watch: Stopwatch, *, stride: int) -> None:
    wanted = _windows(inputs, stride)
    with watch.time():
        chip_cutting.cut_one_by_one(inputs / chip_cutting.IMAGE, wanted, output)


def old_way_of_bands(inputs: Path, output: Path, watch: Stopwatch, *, stride: int) -> None:
    wanted = _windows(inputs, stride)
    with watch.time():
        chip_cutting.cut_from_bands(chip_cutting.band_files(inputs), wanted, output)


def decode_and_cut(inputs: Path, _: Path, watch: Stopwatch, *, stride: int) -> None:
    image = inputs / chip_cutting.IMAGE
    geobox = read_geobox(image)
    wanted = [geobox[window.toslices()] for window in _windows(inputs, stride)]
    with RasterBlocks(image) as blocks:
        blocks.window(wanted[0])  # loads the code, as ours does
    with watch.time(), RasterBlocks(image) as blocks:
        blocks.expect(wanted)
        for each in wanted:
            blocks.window(each)


def check(inputs: Path, outputs: Mapping[str, Path], *, stride: int) -> dict[str, dict[str, float]]:
    wanted = _windows(inputs, stride)
    chip_cutting.check_chips(inputs / chip_cutting.IMAGE, wanted, outputs)
    return {
        name: {"bytes per chip": chip_cutting.bytes_of_chips(folder) / len(wanted)}
        for name, folder in outputs.items()
    }


def _windows(inputs: Path, stride: int) -> list[Window]:
    side = read_geobox(inputs / chip_cutting.IMAGE).shape[0]
    in_a_row = len(range(0, side - SIZE + 1, stride))
    return chip_cutting.windows(side, SIZE, stride)[: ROWS_OF_CHIPS * in_a_row]


def _benchmark(name: str, stride: int, chip_format: ChipFormat, goal: float) -> Benchmark:
    return Benchmark(
        name=name,
        make=make,
        size=SIDE,
        quick_size=SIZE + stride,
        approaches=(
            Approach(OURS, partial(ours, stride=stride, chip_format=chip_format), "ours"),
            Approach(OLD_WAY, partial(old_way, stride=stride)),
            Approach(OF_BANDS, partial(old_way_of_bands, stride=stride)),
            Approach("decoding and cutting alone", partial(decode_and_cut, stride=stride), "limit"),
        ),
        check=partial(check, stride=stride),
        quantities=(
            Quantity(goals={OF_BANDS: goal}),
            Quantity("bytes per chip", unit="B"),
        ),
    )


BENCHMARKS = [
    _benchmark("chips_cut_overlap_0", SIZE, "tif", goal=5),
    # int(256 × 0.2): a stride is whole pixels.
    _benchmark("chips_cut_overlap_0.8", 51, "tif", goal=11),
    _benchmark("chips_cut_zarr_overlap_0", SIZE, "zarr", goal=10),
    _benchmark("chips_cut_zarr_overlap_0.8", 51, "zarr", goal=40),
]
