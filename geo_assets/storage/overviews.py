"""Uncompressed GeoTIFFs in memory and their overviews: what a COG is made from.

GDAL resamples all bands of a file alike. A composite holds reflectances, which average, and
classes, which do not; here every band has its own rule.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.io import MemoryFile

if TYPE_CHECKING:
    from contextlib import ExitStack

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.enums import Resampling

BLOCK_SIZE = 512
"""Edge of a block in pixels; a raster that fits into one block needs no overview."""


@dataclass(frozen=True)
class Pixels:
    """What goes into a GeoTIFF."""

    data: NDArray[Any]
    """(band, y, x)."""

    geobox: GeoBox
    """Grid of shape (y, x)."""

    valid: NDArray[np.bool_] | None
    """(y, x), or None for a file without mask."""

    nodata: float | None
    """The value that is no datum, or None."""


class Scratch:
    """Files in memory in one folder, where GDAL finds overviews by their names."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._folder = uuid.uuid4().hex

    def file(self, name: str) -> MemoryFile:
        """Return a new empty file that lives as long as the stack."""
        return self._stack.enter_context(MemoryFile(dirname=self._folder, filename=name))


def write_plain(file: MemoryFile, pixels: Pixels) -> None:
    """Write an uncompressed, tiled GeoTIFF; the mask inside of it needs GDAL_TIFF_INTERNAL_MASK."""
    with rasterio.open(
        file.name,
        "w",
        driver="GTiff",
        count=len(pixels.data),
        height=pixels.geobox.height,
        width=pixels.geobox.width,
        dtype=pixels.data.dtype,
        crs=str(pixels.geobox.crs),
        transform=pixels.geobox.transform,
        nodata=pixels.nodata,
        tiled=True,
        blockxsize=BLOCK_SIZE,
        blockysize=BLOCK_SIZE,
        bigtiff="IF_SAFER",
    ) as dataset:
        dataset.write(pixels.data)
        if pixels.valid is not None:
            dataset.write_mask(pixels.valid)


def write_overviews(scratch: Scratch, base: str, pixels: Pixels, rules: list[Resampling]) -> None:
    """Lay overviews by powers of two beside the file ``base``, until one fits into a block.

    They are called ``base.ovr``, ``base.ovr.ovr``, …, where GDAL looks for them. Pixels of one
    rule are resampled together, masked and no-data pixels left out.

    Args:
        scratch: The folder in memory where ``base`` lies.
        base: Name of the file in ``scratch``.
        pixels: What the file holds.
        rules: One rule a band.
    """
    factors = _factors(max(pixels.geobox.shape))
    if not factors:
        return
    levels: list[Pixels] = []
    for rule in dict.fromkeys(rules):
        bands = [number for number, other in enumerate(rules) if other == rule]
        file = scratch.file(f"{rule.name}.tif")
        write_plain(file, replace(pixels, data=pixels.data[bands]))
        with rasterio.open(file.name, "r+") as dataset:
            dataset.build_overviews(factors, rule)
        for level in range(len(factors)):
            with rasterio.open(file.name, overview_level=level) as dataset:
                if len(levels) == level:
                    levels.append(_empty_level(pixels, dataset))
                levels[level].data[bands] = dataset.read()
    for level, overview in enumerate(levels, start=1):
        write_plain(scratch.file(base + ".ovr" * level), overview)


def _factors(size: int) -> list[int]:
    factors = []
    factor = 1
    while size / factor > BLOCK_SIZE:
        factor *= 2
        factors.append(factor)
    return factors


def _empty_level(pixels: Pixels, dataset: rasterio.DatasetReader) -> Pixels:
    return Pixels(
        data=np.empty((len(pixels.data), *dataset.shape), dtype=pixels.data.dtype),
        geobox=pixels.geobox.zoom_to(dataset.shape),
        valid=None if pixels.valid is None else dataset.dataset_mask() > 0,
        nodata=pixels.nodata,
    )
