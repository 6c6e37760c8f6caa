"""Imagery that stays on a server (Earth Engine): the composite is an expression.

The same graph as ``imagery``: ``build`` takes ``composite_image`` from here where the campaign's
source composes scenes itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.areas import read_labels_of_fold
from geo_assets.assets.imagery import cluster_areas, composite_rules, label_classes, rgb_indices
from geo_assets.assets.step import Facts, Partition, asset_step, table_of

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geo_assets.products.chips.server_chips import ServerArea
    from geo_assets.products.composites.expression_sidecar import ExpressionSidecar
    from geo_assets.sources.earth_engine.label_table import LabelTable
    from geo_assets.sources.protocol import ServerComposite, ServerPixels

PREVIEW_SIDE = 512
"""Pixels of the longer side of a preview, at most."""


@asset_step(
    group="imagery",
    kinds={"earthengine", "json"},
    upstream=("labels", "scenes"),
    asks_imagery=True,
)
def composite_image(partition: Partition) -> Facts:
    """Composite of each AOI cluster: an expression that the server evaluates for each chip.

    Published are the expression with its scenes pinned by id, its sha256 (the data version) and a
    coarse preview; the pixels stay on the server.
    """
    from geo_assets.previews.png import markdown_image
    from geo_assets.products.composites.expression_sidecar import ExpressionSidecar
    from geo_assets.storage.leftovers import remove_all_but

    layout, fold, split = partition.layout, partition.fold, partition.split
    folder = layout.composite_images(fold, split)
    rows: list[dict[str, Any]] = []
    published = []
    previews = []
    versions: dict[str, str] = {}
    table = label_table(partition)
    for cluster, area in server_areas(partition, table).items():
        path = layout.composite_sidecar(fold, split, cluster)
        preview = layout.composite_preview(fold, split, cluster)
        made = ExpressionSidecar.of(area.composite, area.geobox, area.items, table)
        known = ExpressionSidecar.read(path)
        kept = False
        is_shown = preview.is_file() or area.composite is None
        if known is not None and known.is_same_composite(made) and is_shown:
            made, kept = known, True
        else:
            made = _publish(partition, cluster, area, made)
        published.append(path)
        if preview.is_file():
            previews.append(preview)
        versions[str(cluster)] = made.sha256
        rows.append(
            {
                "cluster": cluster,
                "done": "kept" if kept else "built",
                "sha256": made.sha256[:12],
                "rows": made.shape[0],
                "cols": made.shape[1],
                "crs": made.crs,
                "pixel": abs(area.geobox.resolution.x),
                "days": len(made.days),
                "scenes": len(made.scene_ids),
                "valid_fraction": made.valid_fraction,
            }
        )
    if partition.campaign.clusters.only is None:
        remove_all_but(folder, [*published, *previews])
    facts: dict[str, Any] = {
        "empty": not rows,
        "path": dg.MetadataValue.path(str(folder)),
        "clusters": len(rows),
        "bands": ", ".join(partition.campaign.composite.bands),
        "data_versions": versions,
    }
    if rows:
        facts["images"] = table_of(rows)
    if previews:
        facts["preview"] = dg.MetadataValue.md(
            markdown_image(previews[0].read_bytes(), f"{previews[0].stem} of {partition}")
        )
    return facts


def server_areas(partition: Partition, table: LabelTable | None) -> dict[int, ServerArea]:
    """Return the composite of each cluster with a pixel grid, without asking the server.

    Raises:
        StorageError: If an upstream table is not materialized.
    """
    from geo_assets.products.chips.server_chips import ServerArea

    rules = composite_rules(partition.campaign)
    return {
        cluster: ServerArea(
            area.geobox,
            area.items,
            partition.server_source.composite(area.items, area.geobox, rules, table)
            if area.items
            else None,
        )
        for cluster, area in cluster_areas(partition).items()
    }


def label_table(partition: Partition) -> LabelTable | None:
    """Return the table that the server burns the label band from; None: it is burned here.

    None too for a partition without polygons, of which there is nothing to compose.

    Raises:
        StorageError: If ``labels`` is not materialized.
        SourceError: If there is no such table, or its polygons are not the campaign's.
    """
    from geo_assets.sources.earth_engine.label_table import LabelTable

    campaign = partition.campaign
    if campaign.labels.tables is None or read_labels_of_fold(partition).own.empty:
        return None
    classes = {name: value for value, (name, _) in label_classes(partition).items()}
    table = LabelTable(
        asset_id=campaign.labels.tables[partition.fold],
        split_column=campaign.areas.split_column,
        split=partition.split,
        class_column=campaign.areas.class_column,
        classes=classes,
        overlap="min" if campaign.labels.overlap == "min" else "max",
    )
    return partition.server_source.pinned(table)


def _publish(
    partition: Partition, cluster: int, area: ServerArea, made: ExpressionSidecar
) -> ExpressionSidecar:
    """Write preview and expression of one cluster, the preview first."""
    from geo_assets.errors import ReadError
    from geo_assets.storage.atomic import publish_bytes

    layout, fold, split = partition.layout, partition.fold, partition.split
    preview = layout.composite_preview(fold, split, cluster)
    preview.unlink(missing_ok=True)
    if area.composite is not None:
        coarse = _coarse(area.geobox)
        try:
            pixels = partition.server_source.read_preview(area.composite, coarse)
        except ReadError as error:
            # Chips do not depend on it: an area too large for one request still has its chips.
            partition.log.warning(f"{partition} cluster {cluster}: no preview: {error}")
        else:
            publish_bytes(preview, _picture(partition, cluster, area.composite, pixels, coarse))
            made = replace(made, valid_fraction=round(float(pixels.valid.mean()), 6))
    made.publish(layout.composite_sidecar(fold, split, cluster))
    return made


def _coarse(geobox: GeoBox) -> GeoBox:
    """Return the grid of a preview: the same area, with at most PREVIEW_SIDE pixels a side."""
    longest = max(geobox.shape)
    return geobox if longest <= PREVIEW_SIDE else geobox.zoom_out(longest / PREVIEW_SIDE)


def _picture(
    partition: Partition,
    cluster: int,
    composite: ServerComposite,
    pixels: ServerPixels,
    geobox: GeoBox,
) -> bytes:
    from geo_assets.core.label_band import burn_labels
    from geo_assets.previews.composites import rgb_with_labels

    if composite.label_band:
        labels = pixels.data[-1].astype("uint8")
    else:
        polygons = read_labels_of_fold(partition)
        labels = burn_labels(polygons.own, polygons.other, geobox)
    return rgb_with_labels(
        pixels.data[rgb_indices(partition.campaign)],
        labels,
        valid=pixels.valid,
        classes=label_classes(partition),
        subtitle=f"{partition}, cluster {cluster}",
    )
