"""The chip catalog: a GeoParquet file, one chip a row (``catalog_table.py``).

Which rows there are is decided in ``core/convergence.py`` and ``store.py``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import Transformer
from stac_geoparquet.arrow import to_parquet

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish
from geo_assets.storage.chips.catalog_table import (
    SCHEMA,
    STAC_VERSION,
    CatalogRow,
    grid_numbers,
    row_of,
    table_of,
)
from geo_assets.storage.chips.expectation import crs_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from odc.geo.geobox import GeoBox

    from geo_assets.core.chips import ChipSpec


@dataclass(frozen=True)
class ChipCollection:
    """The STAC collection that a catalog's items belong to; it travels in the file's metadata."""

    id: str
    description: str
    license: str = "other"
    """SPDX identifier of the imagery's licence, or ``other``."""


def write_catalog(path: Path, rows: Sequence[CatalogRow], collection: ChipCollection) -> None:
    """Publish a catalog atomically: GeoParquet 1.1 with bbox covering, zstd, sorted by chip id.

    Equal rows give equal bytes. ``datetime`` is the first solar day, ``start_datetime`` and
    ``end_datetime`` span all of them.

    Raises:
        StorageError: A chip crosses the antimeridian, or its grid has no CRS.
    """
    ordered = sorted(rows, key=lambda row: row.spec.chip_id)
    footprints = _footprints([row.spec for row in ordered])
    table = table_of(ordered, footprints, collection.id, path.name)
    with publish(path) as temporary:
        to_parquet(
            table,
            temporary,
            collections={collection.id: _collection(collection, ordered, footprints)},
            compression="zstd",
        )


def read_rows(path: Path) -> list[CatalogRow]:
    """Return a catalog's rows, by chip id.

    Raises:
        StorageError: The file is no chip catalog; the message names what is wrong.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path}: no readable catalog: {error}") from error
    if missing := sorted(set(SCHEMA.names) - set(table.column_names)):
        raise StorageError(f"{path}: no chip catalog, columns {missing} are missing")
    return [row_of(item) for item in table.to_pylist()]


def open_catalog(path: Path) -> geopandas.GeoDataFrame:
    """Return a catalog as a frame: one row a chip, footprints in EPSG:4326.

    Raises:
        StorageError: The file is missing or no catalog.
    """
    try:
        return geopandas.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StorageError(f"{path}: no readable catalog: {error}") from error


def _footprints(specs: Sequence[ChipSpec]) -> list[shapely.Polygon]:
    """Return each grid's four corners in WGS 84, counter-clockwise."""
    by_crs: defaultdict[str, list[int]] = defaultdict(list)
    for number, spec in enumerate(specs):
        by_crs[str(crs_of(spec.geobox))].append(number)
    corners = np.empty((len(specs), 4, 2))
    for crs, numbers in by_crs.items():
        x, y = _corners([specs[number].geobox for number in numbers])
        to_wgs84 = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        corners[numbers] = np.stack(to_wgs84.transform(x, y), axis=-1)
    whole = np.isfinite(corners).all(axis=(1, 2)) & (np.ptp(corners[..., 0], axis=1) <= 180)
    if not whole.all():
        spec = specs[int(np.argmin(whole))]
        raise StorageError(
            f"chip {spec.chip_id}: its footprint crosses the antimeridian or leaves the "
            f"domain of {spec.geobox.crs}"
        )
    return list(shapely.orient_polygons(shapely.polygons(corners)))


def _corners(geoboxes: Sequence[GeoBox]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y, each (grid, 4), of upper left, lower left, lower right, upper right."""
    a, b, c, d, e, f, rows, columns = grid_numbers(geoboxes).T[:, :, np.newaxis]
    column = columns * np.array([0, 0, 1, 1])
    row = rows * np.array([0, 1, 1, 0])
    return a * column + b * row + c, d * column + e * row + f


def _collection(
    collection: ChipCollection, rows: Sequence[CatalogRow], footprints: list[shapely.Polygon]
) -> dict[str, Any]:
    box: list[float] = [-180.0, -90.0, 180.0, 90.0]
    interval: list[str | None] = [None, None]
    if rows:
        box = shapely.total_bounds(footprints).tolist()
        interval = [
            min(row.spec.start for row in rows).isoformat(),
            max(row.spec.end for row in rows).isoformat(),
        ]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": collection.id,
        "description": collection.description,
        "license": collection.license,
        "extent": {"spatial": {"bbox": [box]}, "temporal": {"interval": [interval]}},
        "links": [],
    }
