"""The table that goes with exported chips: which file is which chip, as CSV.

Whatever an export's numbers or folders lose stands here. Plain text, because the scripts that read
such folders read little else; GDAL and QGIS take it as a layer of footprints.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import shapely

from geo_assets.core.grids import code_of
from geo_assets.errors import StorageError
from geo_assets.storage.checksums import SHA256
from geo_assets.storage.chips.expectation import crs_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from geo_assets.storage.chips.catalog_table import CatalogRow


@dataclass(frozen=True)
class IndexRow:
    """What the index says of one chip; its fields are the columns, in their order."""

    file: str
    """Relative to the folder of the index."""
    chip_id: str
    fold: str
    split: str
    cluster: int
    valid_fraction: float
    """Share of pixels with a datum."""
    label_fraction: float | None
    """Share of pixels of a class; None where nobody knows."""
    size: int
    """Bytes."""
    sha256: str
    crs: str
    """Authority and code, or WKT."""
    transform: str
    """JSON list of six: column and row to x and y of ``crs``, in the order of ``Affine``."""
    WKT: str
    """Footprint in EPSG:4326; GDAL and QGIS know a column of this name as the geometry."""

    @classmethod
    def of(cls, row: CatalogRow, footprint: shapely.Polygon, file: str) -> Self:
        """Return what the index says of an ``ok`` chip of a catalog.

        Raises:
            StorageError: The catalog knows no size or checksum of the chip.
        """
        spec, outcome = row.spec, row.outcome
        if outcome.size is None or outcome.checksum is None or outcome.valid_fraction is None:
            raise StorageError(f"chip {spec.chip_id} is {outcome.status}: it has no file to export")
        crs = crs_of(spec.geobox)
        return cls(
            file=file,
            chip_id=spec.chip_id,
            fold=spec.fold,
            split=spec.split,
            cluster=spec.cluster,
            valid_fraction=outcome.valid_fraction,
            label_fraction=outcome.label_fraction,
            size=outcome.size,
            sha256=outcome.checksum.removeprefix(SHA256),
            crs=code_of(crs) or crs.to_wkt(),
            transform=json.dumps(list(spec.geobox.transform[:6])),
            WKT=shapely.to_wkt(footprint, rounding_precision=-1),
        )


COLUMNS = [field.name for field in fields(IndexRow)]


def encode_index(rows: Sequence[IndexRow]) -> bytes:
    """Return rows as CSV: UTF-8, a header, equal rows as equal bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(row) for row in rows)
    return text.getvalue().encode()


def read_index(path: Path) -> dict[str, str]:
    """Return the checksum of each file that an index names.

    Raises:
        StorageError: The file is no index of chips; the message says what it holds instead.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames, list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageError(f"{path}: no readable index of chips: {error}") from error
    if columns != COLUMNS:
        raise StorageError(
            f"{path}: lies where the index of chips goes, but has the columns "
            f"{columns or []} instead of {COLUMNS}; move it away"
        )
    return {row["file"]: row["sha256"] for row in rows}
