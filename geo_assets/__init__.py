"""geo_assets: satellite imagery and labelled areas become datasets, as one Dagster asset graph.

The three functions here open what the graph publishes; everything else is reached through Dagster
or ``geo-assets``. Importing the package loads no heavy library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from xarray import Dataset

__all__ = ["open_catalog", "open_chip", "open_cube"]


def open_catalog(path: str | Path) -> GeoDataFrame:
    """Return a chip catalog: one row a chip, footprints in EPSG:4326.

    Args:
        path: ``chip_catalog/{fold}/{split}.parquet`` of a campaign's results.

    Raises:
        StorageError: If the file is missing or no catalog.
    """
    from geo_assets.storage.chips.catalog import open_catalog as opened

    return opened(Path(path))


def open_chip(catalog: str | Path, chip_id: str) -> tuple[NDArray[Any], GeoBox]:
    """Return the pixels of one chip and their grid.

    Args:
        catalog: The catalog that lists the chip.
        chip_id: Its id.

    Returns:
        (band, y, x) in the file's dtype, the label band last (pictures hold none), and the
        GeoBox of (y, x).

    Raises:
        StorageError: If the catalog has no such chip, or it is not ``ok``, or its file is damaged.
    """
    from geo_assets.storage.chips.opening import open_chip as opened

    return opened(Path(catalog), chip_id)


def open_cube(path: str | Path, *, chunks: Mapping[str, int] | None = None) -> Dataset:
    """Return a cube: ``ndvi`` (time, y, x) as float, NaN where missing, read lazily.

    Args:
        path: ``ndvi_cube/{fold}/{split}/cluster-{k}.zarr`` of a campaign's results.
        chunks: None: a selection is read when its values are asked for. ``{}`` or sizes by
            dimension: Dask arrays, for what does not fit in memory (``geo-assets[dask]``).

    Raises:
        StorageError: If the store is missing or no cube.
    """
    from geo_assets.storage.cubes.opening import open_cube as opened

    return opened(Path(path), chunks=chunks)
