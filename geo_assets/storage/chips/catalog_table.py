"""The rows of a chip catalog as the table that its file holds, and back.

One valid STAC item a row, as stac-geoparquet:
https://github.com/stac-utils/stac-geoparquet/blob/main/spec/stac-geoparquet-spec.md. The schema is
explicit, so an empty catalog and one whose chips all failed have every column in its right type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.core.chips import ChipOutcome, ChipSpec
from geo_assets.core.grids import code_of
from geo_assets.storage.chips.expectation import crs_of
from geo_assets.storage.chips.files import MEDIA_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

STAC_VERSION = "1.1.0"
_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
]
_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())
_ASSET = pa.struct(
    {
        "href": pa.string(),
        "type": pa.string(),
        "roles": _TEXTS,
        "file:size": pa.int64(),
        "file:checksum": pa.string(),
    }
)
SCHEMA = pa.schema(
    {
        "type": pa.string(),
        "stac_version": pa.string(),
        "stac_extensions": _TEXTS,
        "id": pa.string(),
        "geometry": pa.binary(),
        "bbox": pa.struct(dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), pa.float64())),
        "links": pa.list_(pa.struct(dict.fromkeys(("href", "rel", "type"), pa.string()))),
        "assets": pa.struct({"image": _ASSET}),
        "collection": pa.string(),
        "datetime": _TIME,
        "start_datetime": _TIME,
        "end_datetime": _TIME,
        "updated": _TIME,
        "chip_id": pa.string(),
        "fold": pa.string(),
        "split": pa.string(),
        "cluster": pa.int32(),
        "proj:code": pa.string(),
        "proj:wkt2": pa.string(),
        "proj:transform": pa.list_(pa.float64()),
        "proj:shape": pa.list_(pa.int64()),
        "status": pa.string(),
        "error_kind": pa.string(),
        "error": pa.string(),
        "attempts": pa.int32(),
        "file:size": pa.int64(),
        "file:checksum": pa.string(),
        "valid_fraction": pa.float64(),
        "label_fraction": pa.float64(),
        "recipe": pa.string(),
        "scene_ids": _TEXTS,
    }
)

# Columns that are named as the fields that they hold.
_OF_SPEC = ("chip_id", "fold", "split", "cluster", "recipe", "scene_ids")
_OF_OUTCOME = (
    *("status", "error_kind", "error", "attempts", "updated"),
    *("valid_fraction", "label_fraction"),
)


@dataclass(frozen=True)
class CatalogRow:
    """One chip of a catalog: what it is, how it fared, and where its file lies."""

    spec: ChipSpec
    outcome: ChipOutcome
    href: str | None
    """Relative to the catalog's folder; None unless ``ok``."""


def table_of(
    rows: Sequence[CatalogRow],
    footprints: Sequence[shapely.Polygon],
    collection: str,
    file_name: str,
) -> pa.Table:
    """Return the rows as a table, made column by column: a dict for each takes twice as long."""
    specs, outcomes = [row.spec for row in rows], [row.outcome for row in rows]
    crss = [crs_of(spec.geobox) for spec in specs]
    codes = [code_of(crs) for crs in crss]
    starts = [spec.start for spec in specs]
    # The collection lies in this very file's metadata.
    link = {
        "href": f"./{file_name}",
        "rel": "collection",
        "type": "application/vnd.apache.parquet",
    }
    grids = grid_numbers([spec.geobox for spec in specs])
    columns: dict[str, Any] = {
        **{name: [getattr(spec, name) for spec in specs] for name in _OF_SPEC},
        **{name: [getattr(outcome, name) for outcome in outcomes] for name in _OF_OUTCOME},
        "type": _Same("Feature"),
        "stac_version": _Same(STAC_VERSION),
        "stac_extensions": _Same(_EXTENSIONS),
        "id": [spec.chip_id for spec in specs],
        "geometry": shapely.to_wkb(footprints),
        "bbox": _bboxes(footprints),
        "links": _Same([link]),
        "assets": _assets(rows),
        "collection": _Same(collection),
        "datetime": starts,
        "start_datetime": starts,
        "end_datetime": [spec.end for spec in specs],
        "proj:code": codes,
        "proj:wkt2": [
            None if code else crs.to_wkt() for crs, code in zip(crss, codes, strict=True)
        ],
        "proj:transform": _lists(grids[:, :6]),
        "proj:shape": _lists(grids[:, 6:].astype(np.int64)),
        "file:size": [outcome.size for outcome in outcomes],
        "file:checksum": [outcome.checksum for outcome in outcomes],
    }
    return pa.table([_array(columns[f.name], f.type, len(rows)) for f in SCHEMA], schema=SCHEMA)


def row_of(item: dict[str, Any]) -> CatalogRow:
    """Return a row of the table, given as a dict, as it was before."""
    image = item["assets"]["image"]
    return CatalogRow(
        spec=ChipSpec(
            chip_id=item["chip_id"],
            fold=item["fold"],
            split=item["split"],
            cluster=item["cluster"],
            geobox=GeoBox(
                tuple(item["proj:shape"]),
                Affine(*item["proj:transform"]),
                item["proj:code"] or item["proj:wkt2"],
            ),
            recipe=item["recipe"],
            scene_ids=tuple(item["scene_ids"]),
            start=item["start_datetime"],
            end=item["end_datetime"],
        ),
        outcome=ChipOutcome(
            status=item["status"],
            attempts=item["attempts"],
            updated=item["updated"],
            size=item["file:size"],
            checksum=item["file:checksum"],
            valid_fraction=item["valid_fraction"],
            label_fraction=item["label_fraction"],
            error_kind=item["error_kind"],
            error=item["error"],
        ),
        href=image and image["href"],
    )


@dataclass(frozen=True)
class _Same:
    """What every row says."""

    value: Any


def _array(column: Any, kind: pa.DataType, length: int) -> pa.Array:
    if isinstance(column, _Same):
        # Arrow repeats no list zero times.
        return pa.repeat(pa.scalar(column.value, kind), length) if length else pa.array([], kind)
    return column if isinstance(column, pa.Array) else pa.array(column, kind)


def _bboxes(footprints: Sequence[shapely.Polygon]) -> pa.StructArray:
    kind = SCHEMA.field("bbox").type
    return pa.StructArray.from_arrays(
        list(map(pa.array, shapely.bounds(footprints).reshape(-1, 4).T)), fields=list(kind)
    )


def _assets(rows: Sequence[CatalogRow]) -> pa.StructArray:
    """Return what each row says of its image; nothing where it has none."""
    values: dict[str, Any] = {
        "href": [row.href for row in rows],
        # Of ``chips.zarr#37`` the part before the mark says what it is.
        "type": [
            row.href and MEDIA_TYPES[row.href.partition("#")[0].rpartition(".")[2]] for row in rows
        ],
        "roles": _Same(["data"]),
        "file:size": [row.outcome.size for row in rows],
        "file:checksum": [row.outcome.checksum for row in rows],
    }
    image = pa.StructArray.from_arrays(
        [_array(values[field.name], field.type, len(rows)) for field in _ASSET],
        fields=list(_ASSET),
        mask=pa.array([not row.href for row in rows], pa.bool_()),
    )
    return pa.StructArray.from_arrays([image], fields=list(SCHEMA.field("assets").type))


def _lists(values: npt.NDArray[Any]) -> pa.ListArray:
    """Return the rows of (row, value) as lists."""
    rows, each = values.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * each
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))


def grid_numbers(geoboxes: Sequence[GeoBox]) -> npt.NDArray[np.float64]:
    """Return a row for each grid: the six numbers of its transform, then rows and columns."""
    numbers = [(*geobox.transform[:6], *geobox.shape) for geobox in geoboxes]
    return np.array(numbers, np.float64).reshape(-1, 8)
