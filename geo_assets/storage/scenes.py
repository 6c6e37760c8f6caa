"""Tables of the scenes used: STAC items as stac-geoparquet, with their cluster.

stac-geoparquet gives every item of a table the same columns, so an item whose assets differ comes
back with nulls it never had and with its datetime in another notation. The column ``item``
therefore holds each item's JSON text and is the authority for ``read_scenes``; the other columns
are for DuckDB, QGIS and their like.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import stac_geoparquet.arrow

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish
from geo_assets.storage.disk_errors import writing
from geo_assets.storage.geoparquet import METADATA_KEY, encode_metadata, read_metadata, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Item = dict[str, Any]
"""A STAC item as a dictionary of JSON values."""

_TEMPLATE: Item = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
    "id": "template",
    "collection": "template",
    "geometry": {"type": "Point", "coordinates": [0.0, 0.0]},
    "bbox": [0.0, 0.0, 0.0, 0.0],
    "properties": {"datetime": "2000-01-01T00:00:00Z"},
    "links": [{"rel": "self", "href": "template"}],
    "assets": {},
}
"""What gives an empty table its columns: types are inferred from items, of which it has none."""


@dataclass(frozen=True)
class SceneTable:
    """The scenes of one partition."""

    items: list[Item]
    """STAC items; a scene that several clusters use is here once for each."""

    clusters: list[int]
    """The cluster of each item."""

    left_out: list[dict[str, Any]]
    """Scenes that were found and not used, each with its reason."""

    def of_cluster(self, cluster: int) -> list[Item]:
        """Return the items of one cluster, in their order."""
        return [item for item, own in zip(self.items, self.clusters, strict=True) if own == cluster]


def write_scenes(
    path: Path,
    items: Sequence[Item],
    clusters: Sequence[int],
    left_out: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Publish the scenes used as stac-geoparquet with the columns ``cluster`` and ``item``.

    Hrefs of assets and links that lie in the file system are kept relative to the table, as STAC
    has it, so that a folder of results can move and holds no absolute path. Equal arguments give
    equal bytes.

    Args:
        path: Where the file goes.
        items: STAC items with absolute asset hrefs; their order is kept.
        clusters: The cluster of each item.
        left_out: JSON objects, kept in the file's metadata.

    Raises:
        StorageError: Not as many clusters as items, an asset's href is relative, or what is given
            cannot be said in JSON or in stac-geoparquet; or the file cannot be written.
    """
    if len(items) != len(clusters):
        raise StorageError(f"{path}: {len(items)} items want as many clusters, not {len(clusters)}")
    stored = [_with_relative_hrefs(item, path.absolute().parent) for item in items]
    texts = [encode_metadata(path, item).decode() for item in stored]
    table = _stac_table(path, stored)
    table = table.append_column("cluster", pa.array(clusters, pa.int32()))
    table = table.append_column("item", pa.array(texts, pa.string()))
    ours = {METADATA_KEY: encode_metadata(path, {"left_out": [dict(scene) for scene in left_out]})}
    with writing(path), publish(path) as temporary:
        # stac-geoparquet makes its own file metadata and keeps no other; ours is added to it.
        stac_geoparquet.arrow.to_parquet(table, temporary)
        written = pq.read_table(temporary)
        written = written.replace_schema_metadata({**written.schema.metadata, **ours})
        pq.write_table(written, temporary, compression="zstd")


def read_scenes(path: Path, *, asset: str | None = None) -> SceneTable:
    """Read the scenes as they were written; local asset hrefs come back absolute.

    Links come back as they lie in the file.

    Args:
        path: The file.
        asset: Name of the asset that makes the file, for the message when it is absent.

    Raises:
        StorageError: The file is absent, or no table of scenes.
    """
    require(path, asset)
    try:
        columns = pq.read_table(path, columns=["cluster", "item"]).to_pydict()
    except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise StorageError(f"{path}: is no readable table of scenes: {error}") from error
    folder = path.absolute().parent
    return SceneTable(
        items=[_with_absolute_hrefs(json.loads(text), folder) for text in columns["item"]],
        clusters=columns["cluster"],
        left_out=read_metadata(path).get("left_out", []),
    )


def _stac_table(path: Path, items: list[Item]) -> pa.Table:
    if not items:
        return _parse([_TEMPLATE]).slice(0, 0)
    try:
        return _parse(items)
    except (pa.ArrowException, ValueError, TypeError):
        # Items of several collections may name one property and mean different types by it.
        pass
    try:
        return _parse([_core_of(item) for item in items])
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        names = ", ".join(sorted({str(item.get("id")) for item in items})[:5])
        raise StorageError(f"{path}: cannot hold the STAC items {names}…: {error}") from error


def _parse(items: Iterable[Item]) -> pa.Table:
    return stac_geoparquet.arrow.parse_stac_items_to_arrow(items).read_all()


def _core_of(item: Item) -> Item:
    """Keep of an item what every STAC item has, in types that all items share."""
    core = {key: item[key] for key in _TEMPLATE if key in item}
    core["stac_extensions"] = []
    core["properties"] = {"datetime": item["properties"]["datetime"]}
    core["links"] = [{"rel": link["rel"], "href": link["href"]} for link in item["links"]]
    core["assets"] = {key: {"href": asset["href"]} for key, asset in item["assets"].items()}
    return core


def _with_relative_hrefs(item: Item, folder: Path) -> Item:
    def asset_href(name: str, href: str) -> str:
        local = _local_path(href)
        if local is not None:
            return _relative(local, folder)
        if not urlsplit(href).scheme:
            raise StorageError(
                f"scene {item.get('id')}: asset {name} has the relative href {href!r}; "
                "hrefs must be absolute before scenes are kept"
            )
        return href

    def link_href(href: str) -> str:
        local = _local_path(href)
        return href if local is None else _relative(local, folder)

    return {
        **item,
        "assets": {
            name: {**asset, "href": asset_href(name, asset["href"])}
            for name, asset in item["assets"].items()
        },
        "links": [{**link, "href": link_href(link["href"])} for link in item.get("links", [])],
    }


def _with_absolute_hrefs(item: Item, folder: Path) -> Item:
    assets = {
        name: asset
        if urlsplit(asset["href"]).scheme
        else {**asset, "href": os.path.normpath(folder / asset["href"])}
        for name, asset in item["assets"].items()
    }
    return {**item, "assets": assets}


def _local_path(href: str) -> Path | None:
    """Return the path of an absolute href in the file system, None for anything else."""
    parts = urlsplit(href)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(href) if href.startswith("/") else None


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
