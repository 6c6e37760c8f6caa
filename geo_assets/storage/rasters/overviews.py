"""Overviews by powers of two, laid beside a GeoTIFF window by window: what a COG is made from.

GDAL resamples all bands of a file alike. A composite holds reflectances and classes, which want
other rules; here every band has its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

BLOCK_SIZE = 512
"""Edge of a block in pixels; a raster that fits into one block needs no overview."""


@dataclass(frozen=True)
class Plain:
    """What an uncompressed GeoTIFF is like.

    Attributes:
        geobox: Its grid, of shape (y, x).
        count: Its bands.
        dtype: dtype of all of them.
        masked: Whether it has a mask inside; that needs GDAL_TIFF_INTERNAL_MASK.
        nodata: The value that is no datum, or None.
    """

    geobox: GeoBox
    count: int
    dtype: np.dtype[Any]
    masked: bool
    nodata: float | None

    def create(self, name: str) -> rasterio.io.DatasetWriter:
        """Open a new file of this kind, tiled, for writing."""
        return rasterio.open(
            name,
            "w",
            driver="GTiff",
            count=self.count,
            height=self.geobox.height,
            width=self.geobox.width,
            dtype=self.dtype,
            crs=str(self.geobox.crs),
            transform=self.geobox.transform,
            nodata=self.nodata,
            tiled=True,
            blockxsize=BLOCK_SIZE,
            blockysize=BLOCK_SIZE,
            bigtiff="IF_SAFER",
            # Else GDAL takes the last of four bands of uint8 for transparency.
            alpha="no",
        )


def write_overviews(
    name_of: Callable[[str], str], base: str, plain: Plain, rules: Sequence[Resampling]
) -> list[str]:
    """Lay overviews by powers of two beside a file, until one fits into a block.

    They are called ``base.ovr``, ``base.ovr.ovr``, …, where GDAL looks for them. Masked and no-data
    pixels take no part. Each level is made from the one before, and where a rule takes pixels as
    they are, their validity comes with them.

    Args:
        name_of: Turns the name of a file in the scratch folder into one that GDAL opens.
        base: Name of the file in that folder.
        plain: What it is like.
        rules: One rule a band.

    Returns:
        The files.
    """
    sizes = _sizes(plain.geobox.shape.yx)
    levels: list[tuple[str, Plain]] = [(name_of(base), plain)]
    for number, size in enumerate(sizes, start=1):
        level = replace(plain, geobox=plain.geobox.zoom_to(size))
        levels.append((name_of(base + ".ovr" * number), level))
    resampled = {
        rule: _resampled(name_of(f"{rule.name}.tif"), levels[0], _bands_of(rules, rule), rule)
        for rule in dict.fromkeys(rules)
        if sizes and rule != Resampling.nearest
    }
    nearest = _bands_of(rules, Resampling.nearest)
    for number in range(1, len(levels)):
        name, level = levels[number]
        with level.create(name) as file:
            if nearest:
                _take_pixels(file, levels[number - 1][0], nearest, masked=plain.masked)
            for rule, part in resampled.items():
                # One mask for all bands: that of the pixels taken as they are, if there are any.
                masked = plain.masked and rule == rules[0] and not nearest
                _copy(part, file, _bands_of(rules, rule), masked=masked, overview_level=number - 1)
    return [name for name, _ in levels[1:]]


def _take_pixels(
    file: rasterio.io.DatasetWriter, finer: str, bands: list[int], *, masked: bool
) -> None:
    """Write every second pixel of a file, and whether it is valid."""
    with rasterio.open(finer) as given:
        all_rows = _places(given.height, file.height)
        cols = _places(given.width, file.width)
        for rows in stripes(file.height):
            taken = all_rows[rows]
            above = Window(0, taken[0], given.width, taken[-1] + 1 - taken[0])
            inner = np.ix_(taken - taken[0], cols)
            window = Window(0, rows.start, file.width, len(taken))
            for band in bands:
                file.write(given.read(band, window=above)[inner], band, window=window)
            if masked:
                file.write_mask(given.dataset_mask(window=above)[inner] > 0, window=window)


def _copy(
    source: str,
    file: rasterio.io.DatasetWriter,
    bands: list[int],
    *,
    masked: bool,
    **options: int,
) -> None:
    """Write all bands of a file, or of an overview of it, as some bands of another."""
    with rasterio.open(source, **options) as given:
        for rows in stripes(file.height):
            window = Window(0, rows.start, file.width, rows.stop - rows.start)
            file.write(given.read(window=window), bands, window=window)
            if masked:
                file.write_mask(given.dataset_mask(window=window) > 0, window=window)


def _resampled(name: str, base: tuple[str, Plain], bands: list[int], rule: Resampling) -> str:
    """Copy some bands into a file of their own, whose overviews GDAL makes by one rule."""
    source, plain = base
    part = replace(plain, count=len(bands))
    with rasterio.open(source) as given, part.create(name) as file:
        for rows in stripes(plain.geobox.height):
            window = Window(0, rows.start, plain.geobox.width, rows.stop - rows.start)
            file.write(given.read(bands, window=window), window=window)
            if plain.masked:
                file.write_mask(given.dataset_mask(window=window) > 0, window=window)
    factors = [2**number for number in range(1, len(_sizes(plain.geobox.shape.yx)) + 1)]
    with rasterio.open(name, "r+") as dataset:
        dataset.build_overviews(factors, rule)
    return name


def stripes(height: int) -> Iterator[slice]:
    """Yield the rows of a raster, a row of blocks at a time."""
    for top in range(0, height, BLOCK_SIZE):
        yield slice(top, min(top + BLOCK_SIZE, height))


def _bands_of(rules: Sequence[Resampling], rule: Resampling) -> list[int]:
    return [number for number, other in enumerate(rules, start=1) if other == rule]


def _sizes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of each overview, halved and rounded up as GDAL does it."""
    sizes = []
    factor = 1
    while max(shape) / factor > BLOCK_SIZE:
        factor *= 2
        sizes.append((-(-shape[0] // factor), -(-shape[1] // factor)))
    return sizes


def _places(finer: int, coarser: int) -> NDArray[np.intp]:
    """Which row or column GDAL's rule ``nearest`` takes for each one of an overview."""
    places = (0.5 + np.arange(coarser) * (finer / coarser)).astype(np.intp)
    return np.minimum(places, finer - 1)
