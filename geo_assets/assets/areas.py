"""Areas: label polygons, and the clusters that imagery is fetched for.

Reading and checking vector files is ``sources/label_files.py``; the mathematics is in ``core``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.assets.step import Facts, Partition, asset_step

if TYPE_CHECKING:
    from geo_assets.core.areas import ClusterBox
    from geo_assets.products.composites.builder import Labels

LABEL_COLUMNS = {
    "geometry": ("polygon", "Label polygon, longitude and latitude (EPSG:4326)"),
    "class": ("uint8", "Value in the label band, 1 to 254"),
    "class_name": ("string", "Name of the class"),
    "fold": ("string", "Cross-validation fold or region"),
    "split": ("string", "train, validation, test, or all"),
}
CLUSTER_COLUMNS = LABEL_COLUMNS | {
    "cluster": ("int64", "AOI cluster within fold and split, from 0, west to east"),
}


@asset_step(group="areas", kinds={"geopandas", "geoparquet"}, columns=LABEL_COLUMNS)
def labels(partition: Partition) -> Facts:
    """Label polygons of one fold and split, checked and in longitude and latitude.

    Every geometry is a valid polygon of a declared fold and split, with a class value from 1 to
    254. A fold and split without polygons is an empty table.
    """
    from geo_assets.sources.label_files import read_labels
    from geo_assets.storage.geoparquet import write_table

    checked = read_labels(partition.campaign, partition.layout)
    for warning in checked.warnings:
        partition.log.warning(warning)
    frame = checked.frame
    mine = frame[(frame["fold"] == partition.fold) & (frame["split"] == partition.split)]
    path = partition.layout.labels(partition.fold, partition.split)
    write_table(mine.reset_index(drop=True), path, metadata={"classes": checked.classes})
    return {
        "dagster/row_count": len(mine),
        "empty": bool(mine.empty),
        "path": dg.MetadataValue.path(str(path)),
        "classes": mine["class_name"].value_counts().sort_index().to_dict(),
        "warnings": len(checked.warnings),
    }


@asset_step(
    group="areas",
    kinds={"scikitlearn", "geoparquet"},
    upstream=("labels",),
    columns=CLUSTER_COLUMNS,
)
def aoi_clusters(partition: Partition) -> Facts:
    """AOI clusters: K-Means on polygon centroids in a metric CRS, so that areas stay small.

    Seeded, labels ordered from west to east. The file's metadata holds each cluster's box with its
    buffer; imagery is searched and composed box by box.
    """
    from geo_assets.core.clusters import cluster_boxes, cluster_polygons
    from geo_assets.previews.maps import clusters_map
    from geo_assets.previews.png import markdown_image
    from geo_assets.storage.geoparquet import read_table, write_table

    campaign, layout = partition.campaign, partition.layout
    frame = read_table(layout.labels(partition.fold, partition.split), asset="labels")
    rules = campaign.clusters
    clustered = cluster_polygons(
        frame,
        rules.count,
        seed=campaign.seed,
        max_box_m=None if rules.max_box_km is None else rules.max_box_km * 1000,
    )
    for warning in clustered.warnings:
        partition.log.warning(f"{partition}: {warning}")
    frame = frame.assign(cluster=clustered.cluster)
    boxes = cluster_boxes(frame, rules.buffer_m)
    path = layout.aoi_clusters(partition.fold, partition.split)
    write_table(frame, path, metadata={"boxes": [box.to_dict() for box in boxes]})
    return {
        "dagster/row_count": len(frame),
        "empty": bool(frame.empty),
        "path": dg.MetadataValue.path(str(path)),
        "clusters": len(boxes),
        "largest_box_km": round(
            max((max(box.width_m, box.height_m) for box in boxes), default=0) / 1000, 3
        ),
        "preview": dg.MetadataValue.md(
            markdown_image(clusters_map(frame, boxes), f"AOI clusters of {partition}")
        ),
    }


def read_labels_of_fold(partition: Partition) -> Labels:
    """Return the published polygons of a split, and those of the fold's other splits.

    The others come from the campaign's vector files, so that a partition needs no other one to be
    materialized before it: a chip must know them to mark their pixels as ignored.

    Raises:
        StorageError: If ``labels`` is not materialized for the partition.
    """
    from geo_assets.products.composites.builder import Labels
    from geo_assets.sources.label_files import read_labels
    from geo_assets.storage.geoparquet import read_table

    own = read_table(partition.layout.labels(partition.fold, partition.split), asset="labels")
    everything = read_labels(partition.campaign, partition.layout).frame
    of_the_fold = everything[everything["fold"] == partition.fold]
    other = of_the_fold[of_the_fold["split"] != partition.split]
    return Labels(own, other.reset_index(drop=True))


def read_boxes(partition: Partition) -> list[ClusterBox]:
    """Return the cluster boxes to work on: all, or those in ``clusters.only``.

    Raises:
        StorageError: If ``aoi_clusters`` is not materialized for the partition.
    """
    from geo_assets.core.areas import ClusterBox
    from geo_assets.storage.geoparquet import read_metadata

    path = partition.layout.aoi_clusters(partition.fold, partition.split)
    boxes = [
        ClusterBox.from_dict(box) for box in read_metadata(path, asset="aoi_clusters")["boxes"]
    ]
    only = partition.campaign.clusters.only
    if only is None:
        return boxes
    named = [box for box in boxes if box.cluster in only]
    if boxes and not named:
        partition.log.warning(
            f"{partition}: has none of clusters.only {list(only)}, its clusters are "
            f"0 to {len(boxes) - 1}; nothing is made"
        )
    return named
