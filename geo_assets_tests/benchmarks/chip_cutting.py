"""What the chip benchmarks share: a composite with its windows, and the ways to cut chips.

Bands are four of reflectance and the label band, as a composite has them.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
import zarr
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.windows import Window

from geo_assets.core.chips import ChipPixels, ChipSpec, recipe_digest
from geo_assets.storage.chips.catalog import ChipCollection
from geo_assets.storage.chips.expectation import ChipEncoding
from geo_assets.storage.chips.paths import ChipPaths
from geo_assets.storage.chips.store import ChipStore
from geo_assets.storage.layout import Layout
from geo_assets.storage.rasters.cog import write_cog
from geo_assets.storage.rasters.raster_blocks import RasterBlocks
from geo_assets_tests.benchmarks.model import Disagreement
from geo_assets_tests.benchmarks.synthetic import grid, parcels, reflectance_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.chips import ChipFormat
    from geo_assets.storage.chips.reports import ConvergenceReport

IMAGE = "composite.tif"
BANDS = ("B02", "B03", "B04", "B08", "label")
OLD_WAY = "old way: open, read window, write, for each chip"
_DAY = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)


def write_composite(inputs: Path, side: int, *, missing: float) -> None:
    """Publish a composite of ``side`` × ``side`` pixels, as the product does.

    Args:
        inputs: Folder.
        side: Pixels.
        missing: Share of pixels without datum, in patches that could fill a small chip: then it
            would have no imagery, and no file.
    """
    images = [next(reflectance_images(side, 1, missing, seed)) for seed in range(len(BANDS) - 1)]
    label = parcels(side, np.random.default_rng(9)).astype(np.uint16)
    valid = images[0][1]
    data = np.stack([image for image, _ in images])
    data[:, ~valid] = 0
    write_cog(
        inputs / IMAGE,
        np.concatenate([data, label[np.newaxis]]),
        grid(side),
        valid=valid,
        band_names=BANDS,
    )


def write_bands(inputs: Path) -> None:
    """Write each band of the composite as a COG of its own, deflated, as archives keep scenes."""
    options = {"driver": "COG", "compress": "deflate", "predictor": "yes", "overviews": "none"}
    with rasterio.open(inputs / IMAGE) as source:
        profile = {**source.profile, "driver": "GTiff", "count": 1, "compress": None}
        for number, file in enumerate(band_files(inputs), start=1):
            with MemoryFile() as memory:
                with memory.open(**profile) as band:
                    band.write(source.read(number), 1)
                rasterio.shutil.copy(memory.name, file, **options, num_threads="all_cpus")


def band_files(inputs: Path) -> list[Path]:
    """Return the files of ``write_bands``."""
    return [inputs / f"{band}.tif" for band in BANDS]


def windows(side: int, size: int, stride: int) -> list[Window]:
    """Return the whole windows of a square image, row by row."""
    starts = range(0, side - size + 1, stride)
    return [Window(col, row, size, size) for row in starts for col in starts]


def specs(geobox: GeoBox, wanted: list[Window]) -> list[ChipSpec]:
    """Return the windows as wanted chips."""
    recipe = recipe_digest({"source": "benchmark"})
    return [
        ChipSpec(
            chip_id=name_of(window),
            fold="benchmark",
            split="all",
            cluster=0,
            geobox=geobox[window.toslices()],
            recipe=recipe,
            scene_ids=("scene",),
            start=_DAY,
            end=_DAY,
        )
        for window in wanted
    ]


def name_of(window: Window) -> str:
    """Return the chip's id."""
    return f"benchmark-all-r{window.row_off:05d}-c{window.col_off:05d}"


def store_in(folder: Path, chip_format: ChipFormat = "tif") -> ChipStore:
    """Return the chip store below a folder of results."""
    return ChipStore(
        ChipPaths.of(Layout(folder.parent, folder.name), "benchmark", "all"),
        ChipEncoding(format=chip_format, bands=BANDS, dtype="uint16"),
        ChipCollection("benchmark-chips", "Chips of a benchmark."),
    )


def converge(
    image: Path, wanted: list[ChipSpec], folder: Path, chip_format: ChipFormat = "tif"
) -> ConvergenceReport:
    """Cut chips as the product does: blocks decoded once, two threads, the catalog at the end.

    The few lines around the store are those of ``geo_assets/products/chips/composite_chips.py``.
    """
    with RasterBlocks(image) as blocks:

        def read(spec: ChipSpec) -> ChipPixels:
            return ChipPixels(*blocks.window(spec.geobox))

        return store_in(folder, chip_format).converge(
            wanted,
            read,
            run_id="benchmark",
            expect=lambda specs: blocks.expect([spec.geobox for spec in specs]),
        )


def cut_one_by_one(image: Path, wanted: list[Window], folder: Path) -> None:
    """Cut chips the old way: no checksum, no atomic name, nothing synced, one after the other."""
    for window in wanted:
        with rasterio.open(image) as source:
            write_chip(source, window, folder)


def cut_from_bands(files: list[Path], wanted: list[Window], folder: Path) -> None:
    """Cut chips the old way where a scene is a file a band: each is opened for each chip."""
    for window in wanted:
        bands = []
        for file in files:
            with rasterio.open(file) as source:
                bands.append(source.read(1, window=window))
                profile = _chip_profile(source, window, len(files))
        with rasterio.open(folder / f"{name_of(window)}.tif", "w", **profile) as chip:
            chip.write(np.stack(bands))


def write_chip(source: rasterio.DatasetReader, window: Window, folder: Path) -> None:
    """Write one window as a GeoTIFF of its own."""
    profile = _chip_profile(source, window, source.count)
    data = source.read(window=window)
    with rasterio.open(folder / f"{name_of(window)}.tif", "w", **profile) as chip:
        chip.write(data)


def _chip_profile(source: rasterio.DatasetReader, window: Window, count: int) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "width": window.width,
        "height": window.height,
        "count": count,
        "dtype": source.dtypes[0],
        "crs": source.crs,
        "transform": source.window_transform(window),
        "compress": "deflate",
    }


def check_chips(image: Path, wanted: list[Window], folders: Mapping[str, Path]) -> None:
    """Compare every chip of every approach with the window of the source.

    GeoTIFFs are read by rasterio, stores by zarr-python.

    Raises:
        Disagreement: If a chip is missing, too many, or has other pixels or another place.
    """
    with rasterio.open(image) as source:
        for name, folder in folders.items():
            chips = dict(_chips_in(folder))
            if chips.keys() != {name_of(window) for window in wanted}:
                raise Disagreement(f"{name} has {len(chips)} chips; wanted {len(wanted)}")
            for window in wanted:
                data, transform = chips[name_of(window)]()
                same_place = transform == source.window_transform(window)
                if not same_place or (data != source.read(window=window)).any():
                    raise Disagreement(f"chip {name_of(window)} of {name} differs")


def bytes_of_chips(folder: Path) -> int:
    """Return the bytes of all files of chips and of their stores in a folder of results."""
    files = [*_files(folder), *(f for s in _stores(folder) for f in s.rglob("*") if f.is_file())]
    return sum(file.stat().st_size for file in files)


def _chips_in(folder: Path) -> Iterator[tuple[str, Callable[[], tuple[NDArray[Any], Affine]]]]:
    for file in _files(folder):
        yield file.stem, partial(_of_file, file)
    for store in _stores(folder):
        # An array or a group, by its name: zarr-python's types do not tell which.
        group: Any = zarr.open_group(store, mode="r")
        for index, chip_id in enumerate(group["chip_id"][:]):
            if chip_id:
                yield str(chip_id), partial(_of_store, group, index)


def _of_file(file: Path) -> tuple[NDArray[Any], Affine]:
    with rasterio.open(file) as chip:
        return chip.read(), chip.transform


def _of_store(group: Any, index: int) -> tuple[NDArray[Any], Affine]:
    return group["pixels"][index], Affine(*group["transform"][index])


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*.tif") if "warm" not in file.parts]


def _stores(folder: Path) -> list[Path]:
    return [store for store in folder.rglob("*.zarr") if "warm" not in store.parts]
