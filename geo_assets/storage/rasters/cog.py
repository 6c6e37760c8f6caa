"""Rasters as Cloud-Optimized GeoTIFFs: written and read whole, or by windows of their lattice.

Validity is an internal mask (docs/decisions/0003-validity-is-a-mask.md) or, for label rasters, a
no-data value. Class colours lie in the file; GeoTIFF has no place for class names, so they lie as
tags in the file and, where QGIS and GDAL look for them, in ``{name}.tif.aux.xml`` beside it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import rasterio
import rasterio.errors
from odc.geo.geobox import GeoBox, bounding_box_in_pixel_domain
from rasterio.enums import Resampling
from rasterio.windows import Window

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish_bytes
from geo_assets.storage.rasters.block_cache import bound_block_cache
from geo_assets.storage.rasters.class_table import (
    class_names_path,
    class_names_xml,
    class_tags,
    colour_map,
    problem_of,
)
from geo_assets.storage.rasters.cog_blocks import publish_cog
from geo_assets.storage.rasters.gdal_errors import reason_of
from geo_assets.storage.rasters.overviews import Plain, stripes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geo_assets.storage.rasters.class_table import ClassTable
    from geo_assets.storage.rasters.cog_blocks import Block

LABEL_BAND = "label"
"""Name of the label band of a composite: its overviews are always by mode, classes do not mix."""


@dataclass(frozen=True)
class Raster:
    """Pixels with their grid."""

    data: NDArray[Any]
    """(band, y, x); pixels without datum hold what the file holds there."""

    valid: NDArray[np.bool_]
    """(y, x); whether a pixel has a datum."""

    geobox: GeoBox
    """CRS, transform and shape."""

    band_names: tuple[str, ...]
    """One name a band, empty where the file has none."""

    tags: dict[str, str] = field(default_factory=dict)
    """TIFF tags (``TIFFTAG_COPYRIGHT``, …) and GDAL metadata of the file."""


def write_cog(
    path: Path,
    data: NDArray[Any],
    geobox: GeoBox,
    *,
    valid: NDArray[np.bool_] | None = None,
    nodata: float | None = None,
    band_names: Sequence[str] | None = None,
    band_descriptions: Sequence[str] | None = None,
    class_table: ClassTable | None = None,
    overviews: Literal["average", "mode", "nearest"] = "average",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Publish a raster as a COG: zstd with predictor, blocks of 512, overviews down to 512.

    Equal arguments give equal bytes. ``write_cog_of_blocks`` wants no whole raster in memory.

    Args:
        path: Where the file goes.
        data: (band, y, x), an integer or float dtype that GeoTIFF knows.
        geobox: Grid of the pixels; its shape is (y, x).
        valid: (y, x); written as internal mask band. Not together with ``nodata``.
        nodata: The value that is no datum, written as no-data tag.
        band_names: One a band; GDAL's band descriptions, what QGIS lists. The band ``label`` gets
            overviews by mode whatever ``overviews`` says.
        band_descriptions: One sentence a band (unit, scale), kept as metadata of the band.
        class_table: Class value → (name, colour ``#rrggbb``), for one band of uint8.
        overviews: How overviews are resampled: ``mode`` for labels.
        tags: Attribution and licence (``TIFFTAG_COPYRIGHT``, ``TIFFTAG_ARTIST``) and other
            metadata of the file.

    Raises:
        StorageError: The arguments do not fit together.
    """
    _check_pixels(path, data, valid, geobox)
    if class_table:
        _check_classes(path, data, class_table)
    everything = (slice(0, geobox.shape.y), slice(0, geobox.shape.x), data, valid)
    write_cog_of_blocks(
        path,
        [everything],
        Plain(geobox, len(data), data.dtype, masked=valid is not None, nodata=nodata),
        band_names=band_names,
        band_descriptions=band_descriptions,
        class_table=class_table,
        overviews=overviews,
        tags=tags,
    )


def write_cog_of_blocks(
    path: Path,
    blocks: Iterable[Block],
    plain: Plain,
    *,
    band_names: Sequence[str] | None = None,
    band_descriptions: Sequence[str] | None = None,
    class_table: ClassTable | None = None,
    overviews: Literal["average", "mode", "nearest"] = "average",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Publish a raster that is made block by block, as ``write_cog``; how it is cut shows nowhere.

    Args:
        path: Where the file goes.
        blocks: Rows, columns, data (band, y, x) and, for a masked file, valid (y, x); taken one by
            one, together they fill the grid.
        plain: Grid, bands, dtype and how no-data is said.
        band_names: As for ``write_cog``, as all that follow.
        band_descriptions: One sentence a band.
        class_table: Class value → (name, colour).
        overviews: How overviews are resampled.
        tags: Attribution, licence and other metadata.

    Raises:
        StorageError: The arguments do not fit together, or the file could not be written whole.
    """
    if plain.geobox.crs is None:
        raise StorageError(f"{path}: cannot be written as COG: the grid has no CRS")
    if plain.masked and plain.nodata is not None:
        raise StorageError(
            f"{path}: cannot be written as COG: validity is a mask or a no-data value, not both"
        )
    _check_texts(path, plain.count, band_names, band_descriptions)
    names = band_names or [""] * plain.count
    rules = [Resampling.mode if name == LABEL_BAND else Resampling[overviews] for name in names]

    def describe(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.update_tags(**(tags or {}))
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
        for number, sentence in enumerate(band_descriptions or (), start=1):
            dataset.update_tags(number, description=sentence)
        if class_table:
            dataset.update_tags(1, **class_tags(class_table))
            dataset.write_colormap(1, colour_map(class_table))

    publish_cog(path, plain, blocks, rules, describe)
    _publish_class_names(path, class_table)


def read_cog(path: Path, *, asset: str | None = None) -> Raster:
    """Read a whole raster.

    Args:
        path: The file.
        asset: Name of the asset that makes the file, for the message when it is absent.

    Raises:
        StorageError: The file is absent, or damaged.
    """
    with _opened(path, asset) as dataset:
        return _raster(dataset, dataset.read(), dataset.dataset_mask() > 0, _geobox(dataset))


def read_thinned(path: Path, longest: int) -> Raster:
    """Read a raster for a picture: at most ``longest`` pixels a side, off its overviews.

    Arguments and errors as for ``read_cog``. Smaller rasters come whole.
    """
    with _opened(path, None) as dataset:
        step = max(-(-max(dataset.shape) // longest), 1)
        shape = (-(-dataset.height // step), -(-dataset.width // step))
        data = dataset.read(out_shape=(dataset.count, *shape))
        valid = dataset.dataset_mask(out_shape=shape) > 0
        return _raster(dataset, data, valid, _geobox(dataset).zoom_to(shape))


def highest_values(path: Path) -> list[int]:
    """Return the greatest number of each band of integers, no-data included, by rows of blocks.

    Raises:
        StorageError: The file is absent, or damaged.
    """
    with _opened(path, None) as dataset:
        found = [
            dataset.read(window=Window(0, rows.start, dataset.width, rows.stop - rows.start)).max(
                axis=(1, 2)
            )
            for rows in stripes(dataset.height)
        ]
    highest: list[int] = np.max(found, axis=0).tolist()
    return highest


def read_geobox(path: Path, *, asset: str | None = None) -> GeoBox:
    """Read the grid of a raster and no pixel; arguments and errors as for ``read_cog``."""
    with _opened(path, asset) as dataset:
        return _geobox(dataset)


def read_window(path: Path, geobox: GeoBox, *, asset: str | None = None) -> Raster:
    """Read one window of a raster, see ``OpenRaster.window``; for many, ``open_raster`` once."""
    with open_raster(path, asset=asset) as raster:
        return raster.window(geobox)


@contextmanager
def open_raster(path: Path, *, asset: str | None = None) -> Iterator[OpenRaster]:
    """Open a raster to read many windows; blocks that windows share are decoded once.

    Arguments and errors as for ``read_cog``. For one thread at a time.
    """
    with _opened(path, asset) as dataset:
        yield OpenRaster(path, dataset)


class OpenRaster:
    """A raster of which windows are read."""

    def __init__(self, path: Path, dataset: rasterio.DatasetReader) -> None:
        self._path = path
        self._dataset = dataset
        self.geobox = _geobox(dataset)

    def window(self, geobox: GeoBox) -> Raster:
        """Read the pixels of a window; what lies outside of the file is not valid.

        Args:
            geobox: The window: same CRS and pixel size as the file, offset by whole pixels.

        Returns:
            The window's pixels; outside of the file they hold the no-data value, else 0 (NaN in
            float rasters without one).

        Raises:
            StorageError: The window is off the pixel lattice, or the file is damaged.
        """
        try:
            box = bounding_box_in_pixel_domain(geobox, self.geobox, tol=1e-4)
        except ValueError as error:
            raise StorageError(
                f"{self._path}: the window {geobox!r} does not lie on the pixels of {self.geobox!r}"
            ) from error
        dataset = self._dataset
        left, top, right, bottom = (int(edge) for edge in box.bbox)
        data = np.full((dataset.count, *geobox.shape), _outside(dataset), dtype=dataset.dtypes[0])
        valid = np.zeros(geobox.shape, dtype=bool)
        rows = slice(max(top, 0), min(bottom, dataset.height))
        columns = slice(max(left, 0), min(right, dataset.width))
        if rows.start < rows.stop and columns.start < columns.stop:
            window = Window.from_slices(rows, columns)
            inner = (
                slice(rows.start - top, rows.stop - top),
                slice(columns.start - left, columns.stop - left),
            )
            data[:, *inner] = dataset.read(window=window)
            valid[inner] = dataset.dataset_mask(window=window) > 0
        return _raster(dataset, data, valid, geobox)


def _publish_class_names(path: Path, class_table: ClassTable | None) -> None:
    side_file = class_names_path(path)
    if class_table:
        publish_bytes(side_file, class_names_xml(class_table))
    else:
        side_file.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, asset: str | None) -> Iterator[rasterio.DatasetReader]:
    if not path.is_file():
        advice = f"; materialize {asset} first" if asset else ""
        raise StorageError(f"{path}: does not exist{advice}")
    bound_block_cache()
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            yield dataset
    except rasterio.errors.RasterioError as error:
        raise StorageError(f"{path}: cannot be read as GeoTIFF: {reason_of(error)}") from error


def _geobox(dataset: rasterio.DatasetReader) -> GeoBox:
    return GeoBox(dataset.shape, dataset.transform, dataset.crs)


def _raster(
    dataset: rasterio.DatasetReader, data: NDArray[Any], valid: NDArray[np.bool_], geobox: GeoBox
) -> Raster:
    names = tuple(name or "" for name in dataset.descriptions)
    tags = {key: value for key, value in dataset.tags().items() if key != "AREA_OR_POINT"}
    return Raster(data, valid, geobox, names, tags)


def _outside(dataset: rasterio.DatasetReader) -> float:
    if dataset.nodata is not None:
        return float(dataset.nodata)
    return float("nan") if np.dtype(dataset.dtypes[0]).kind == "f" else 0.0


def _check_pixels(
    path: Path, data: NDArray[Any], valid: NDArray[np.bool_] | None, geobox: GeoBox
) -> None:
    shape = tuple(geobox.shape)
    problem = None
    if data.ndim != 3 or len(data) == 0 or data.shape[1:] != shape:
        problem = f"data is {data.shape}, wanted (band, y, x) with (y, x) = {shape}"
    elif valid is not None and (valid.shape != shape or valid.dtype != bool):
        problem = f"valid is {valid.dtype} {valid.shape}, wanted bool {shape}"
    if problem:
        raise StorageError(f"{path}: cannot be written as COG: {problem}")


def _check_texts(path: Path, count: int, *texts: Sequence[str] | None) -> None:
    for given in texts:
        if given is not None and len(given) != count:
            raise StorageError(f"{path}: {count} bands want as many texts, not {list(given)}")


def _check_classes(path: Path, data: NDArray[Any], table: ClassTable) -> None:
    problem = problem_of(table)
    if len(data) != 1 or data.dtype != np.uint8:
        problem = f"it is for one band of uint8, not for {len(data)} of {data.dtype}"
    if problem:
        raise StorageError(f"{path}: the class table cannot be written: {problem}")
