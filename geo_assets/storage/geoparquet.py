"""Vector tables as GeoParquet 1.1: bbox covering, zstd, and one JSON object of our own beside them.

What the columns mean belongs to the modules that make them; STAC items have a module of their own.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

METADATA_KEY = b"geo_assets"
"""The key of the Parquet file metadata under which our JSON object lies."""


def write_table(
    frame: gpd.GeoDataFrame, path: Path, *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Publish a table of geometries; rows keep their order, the index is not kept.

    An empty frame keeps all its columns and their types. A column of which no value is known
    (``object`` without any value) is stored as text, so that empty and filled tables of one kind
    have one schema. Equal frames give equal bytes.

    Args:
        frame: The rows, with a CRS.
        path: Where the file goes.
        metadata: JSON object kept in the file, see ``read_metadata``.

    Raises:
        StorageError: The frame has no CRS, the metadata cannot be said in JSON, or the file
            cannot be written.
    """
    if frame.crs is None:
        raise StorageError(f"{path}: the table has no CRS; set one, for instance EPSG:4326")
    buffer = io.BytesIO()
    # geopandas knows the `geo` metadata and the covering; pyarrow adds our key to its table.
    frame.to_parquet(buffer, index=False, write_covering_bbox=True, schema_version="1.1.0")
    buffer.seek(0)
    table = _with_text_columns(pq.read_table(buffer))
    entries = {**table.schema.metadata, METADATA_KEY: encode_metadata(path, metadata or {})}
    with writing(path), publish(path) as temporary:
        pq.write_table(table.replace_schema_metadata(entries), temporary, compression="zstd")


def read_table(path: Path, *, asset: str | None = None) -> gpd.GeoDataFrame:
    """Read a table that ``write_table`` published.

    Args:
        path: The file.
        asset: Name of the asset that makes the file, for the message when it is absent.

    Raises:
        StorageError: The file is absent or no GeoParquet file.
    """
    require(path, asset)
    try:
        return gpd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise StorageError(f"{path}: is no readable GeoParquet file: {error}") from error


def read_metadata(path: Path, *, asset: str | None = None) -> dict[str, Any]:
    """Read the JSON object that ``write_table`` put into the file; empty if there is none.

    Reads the footer only. Arguments and errors as for ``read_table``.
    """
    require(path, asset)
    try:
        entries = pq.read_schema(path).metadata or {}
    except (ValueError, OSError) as error:
        raise StorageError(f"{path}: is no readable GeoParquet file: {error}") from error
    decoded: dict[str, Any] = json.loads(entries.get(METADATA_KEY, b"{}"))
    return decoded


def require(path: Path, asset: str | None) -> None:
    """Raise a StorageError that says what to do unless ``path`` exists."""
    if not path.exists():
        advice = f"materialize {asset} first" if asset else "materialize the asset it belongs to"
        raise StorageError(f"{path}: does not exist; {advice}")


def encode_metadata(path: Path, metadata: Mapping[str, Any]) -> bytes:
    """Encode a JSON object for the file metadata: sorted keys, so equal objects, equal bytes."""
    try:
        text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StorageError(f"{path}: metadata cannot be written as JSON: {error}") from error
    return text.encode()


def _with_text_columns(table: pa.Table) -> pa.Table:
    """Store text as `string` whatever pandas called it, also where no value gives a type."""
    for position, field in enumerate(table.schema):
        if pa.types.is_null(field.type) or pa.types.is_large_string(field.type):
            column = table.column(position).cast(pa.string())
            table = table.set_column(position, field.with_type(pa.string()), column)
    return table
