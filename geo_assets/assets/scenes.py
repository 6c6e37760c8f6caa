"""The scenes of each AOI cluster: found, chosen, and written down for all that is made of them.

Searching is in ``sources``; which scenes are left out, and why, is told here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.areas import read_boxes
from geo_assets.assets.step import Facts, Partition, asset_step, table_of
from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from geo_assets.core.areas import ClusterBox
    from geo_assets.sources.protocol import Item, SceneSelection

SCENE_COLUMNS = {
    "id": ("string", "STAC item id"),
    "datetime": ("timestamp", "Acquisition time, UTC"),
    "geometry": ("polygon", "Footprint (EPSG:4326)"),
    "assets": ("struct", "Hrefs and bands, as in the STAC item"),
    "cluster": ("int64", "AOI cluster that the scene is used for"),
}


@asset_step(
    group="imagery",
    kinds={"stac", "geoparquet"},
    upstream=("aoi_clusters",),
    columns=SCENE_COLUMNS,
    asks_imagery=True,
)
def scenes(partition: Partition) -> Facts:
    """Scenes used for each AOI cluster, as stac-geoparquet: what the results are pinned to.

    Scenes that were found but left out are kept by name, with the reason, in the file's metadata.
    """
    from geo_assets.sources.scenes.order import solar_day
    from geo_assets.sources.stac.services import imagery_notices
    from geo_assets.storage.scenes import write_scenes

    campaign = partition.campaign
    notices = imagery_notices(campaign)
    for notice in notices:
        partition.log.warning(notice)
    items: list[Item] = []
    clusters: list[int] = []
    left_out = []
    chosen = list(selections(partition))
    for box, selection in chosen:
        items += selection.items
        clusters += [box.cluster] * len(selection.items)
        left_out += [
            {"cluster": box.cluster, "id": out.scene_id, "reason": out.reason, "detail": out.detail}
            for out in selection.left_out
        ]
    path = partition.layout.scenes(partition.fold, partition.split)
    if without := {box.cluster for box, _ in chosen}.difference(clusters):
        _say_why_none(partition, path, without, left_out, bands_are_there=bool(items))
    write_scenes(path, items, clusters, left_out)
    days = sorted({str(solar_day(item)) for item in items})
    facts = {
        "dagster/row_count": len(items),
        "empty": not items,
        "path": dg.MetadataValue.path(str(path)),
        "scenes": len({item["id"] for item in items}),
        "days": len(days),
        "first_day": days[0] if days else "none",
        "last_day": days[-1] if days else "none",
        "left_out": dict(Counter(out["reason"] for out in left_out)),
    }
    if notices:
        facts["imagery_notices"] = "; ".join(notices)
    if left_out:
        # Scenes that lie elsewhere are many and say least.
        left_out.sort(key=lambda out: out["reason"] == "no_overlap")
        facts["left_out_scenes"] = table_of(left_out[:50])
    return facts


def _say_why_none(
    partition: Partition,
    path: Path,
    clusters: Collection[int],
    left_out: Sequence[Mapping[str, Any]],
    *,
    bands_are_there: bool,
) -> None:
    """Say why clusters have no scene; refuse it where that would take results away.

    Args:
        partition: The partition.
        path: Its table of scenes, as an earlier run left it.
        clusters: Those without a scene.
        left_out: Every scene that is not used, with its cluster and the reason.
        bands_are_there: Whether scenes of other clusters have the bands; else a campaign that asks
            for a band which no scene has is refused, too.

    Raises:
        SourceError: It names each reason, and a scene for it.
    """
    from geo_assets.storage.seen_scenes import scenes_of_table

    scenes = {out["id"]: out for out in left_out if out["cluster"] in clusters}.values()
    counts = Counter(out["reason"] for out in scenes)
    example = {
        out["reason"]: detail
        if out["id"] in (detail := out["detail"])
        else f"{out['id']}: {detail}"
        for out in scenes
    }
    reasons = "; ".join(f"{n} {reason} ({example[reason]})" for reason, n in counts.most_common())
    where = f", cluster {', '.join(map(str, sorted(clusters)))}" if bands_are_there else ""
    told = f"{partition}{where}: no scene is used: {reasons or 'the source has none'}"
    if before := [key for key in scenes_of_table(path) or () if key[0] in clusters]:
        raise SourceError(
            f"{told}; what was made of {len(before)} scenes before stays as it is; remove {path} "
            "if it is to go"
        )
    if "missing_band" in counts and not bands_are_there:
        raise SourceError(told)
    partition.log.warning(told)


def selections(partition: Partition) -> Iterator[tuple[ClusterBox, SceneSelection]]:
    """Ask the source, for each cluster box, which of its scenes are to be used.

    Raises:
        StorageError: If ``aoi_clusters`` is not materialized.
        SourceError: If the source cannot be searched.
    """
    from geo_assets.sources.protocol import SceneQuery

    campaign = partition.campaign
    for box in read_boxes(partition):
        query = SceneQuery(
            box,
            campaign.start,
            campaign.end,
            campaign.bands,
            campaign.clouds.max_cover,
            campaign.clouds.band,
        )
        yield box, partition.source.select(query)


def scenes_of_boxes(partition: Partition) -> list[tuple[ClusterBox, list[Item]]]:
    """Return each cluster box with the scenes that are used for it.

    Raises:
        StorageError: If ``aoi_clusters`` or ``scenes`` is not materialized.
    """
    from geo_assets.storage.scenes import read_scenes

    table = read_scenes(partition.layout.scenes(partition.fold, partition.split))
    by_cluster: dict[int, list[Item]] = {}
    for item, cluster in zip(table.items, table.clusters, strict=True):
        by_cluster.setdefault(cluster, []).append(item)
    return [(box, by_cluster.get(box.cluster, [])) for box in read_boxes(partition)]
