"""The composite of each AOI cluster: how a campaign's scenes and polygons become one image.

Reading is in ``sources``; how observations become an image is in ``core``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.areas import read_labels_of_fold
from geo_assets.assets.scenes import scenes_of_boxes
from geo_assets.assets.step import Facts, Partition, asset_step, table_of
from geo_assets.progress import logged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from odc.geo.geobox import GeoBox

    from geo_assets.campaign import Campaign
    from geo_assets.previews.palette import ClassTable
    from geo_assets.products.composites.builder import CompositeBuilder
    from geo_assets.products.windows import FailedWindow
    from geo_assets.sources.protocol import Item
    from geo_assets.sources.rules import CloudRules, CompositeRules

PICTURE_PIXELS = 2048
"""Pixels a side of what previews are made from: several for each that is shown."""


@asset_step(group="imagery", kinds={"cog", "numpy"}, upstream=("labels", "scenes"))
def composite_image(partition: Partition) -> Facts:
    """Composite of each AOI cluster: a reducer over clear days, and the label band, as one COG.

    Validity is an internal mask. A sidecar beside each image pins recipe, scenes and days, and
    names the windows that could not be read: their pixels are no-data until they are.
    """
    from geo_assets.previews.composites import band_panels, rgb_with_labels
    from geo_assets.previews.png import markdown_image
    from geo_assets.storage.disk import require_room
    from geo_assets.storage.leftovers import remove_all_but
    from geo_assets.storage.rasters.cog import LABEL_BAND, read_thinned

    layout = partition.layout
    builders = composite_builders(partition)
    folder = layout.composite_images(partition.fold, partition.split)
    sizes = [_bytes_of(builder) for builder in builders.values()]
    largest = max(sizes, default=0)
    require_room(folder, sum(sizes), f"composite_image {partition}", at_once=largest)
    rows: list[dict[str, Any]] = []
    published: list[Path] = []
    for cluster, builder in builders.items():
        image = layout.composite_image(partition.fold, partition.split, cluster)
        sidecar = layout.composite_sidecar(partition.fold, partition.split, cluster)
        made, how = builder.build(
            image,
            sidecar,
            logged(partition.log, f"composite {partition} cluster {cluster}: blocks"),
            partition.workers,
        )
        warn_of_unread(partition, f"cluster {cluster}", made.failed_windows)
        published += [image, sidecar]
        rows.append(
            {
                "cluster": cluster,
                "done": how,
                "rows": made.shape[0],
                "cols": made.shape[1],
                "crs": str(builder.geobox.crs),
                "pixel": abs(builder.geobox.resolution.x),
                "days": len(made.days),
                "scenes": len(made.scene_ids),
                "valid_fraction": round(made.valid_fraction, 6),
                "failed_windows": len(made.failed_windows),
            }
        )
    if partition.campaign.clusters.only is None:
        remove_all_but(folder, published)
    facts: dict[str, Any] = {
        "empty": not builders,
        "path": dg.MetadataValue.path(str(folder)),
        "clusters": len(builders),
        "failed_windows": sum(row["failed_windows"] for row in rows),
        "bands": ", ".join([*partition.campaign.composite.bands, LABEL_BAND]),
    }
    if rows:
        raster = read_thinned(published[0], PICTURE_PIXELS)
        bands = partition.campaign.composite.bands
        facts["preview"] = dg.MetadataValue.md(
            markdown_image(
                rgb_with_labels(
                    raster.data[rgb_indices(partition.campaign)],
                    raster.data[-1],
                    valid=raster.valid,
                    classes=label_classes(partition),
                    subtitle=f"{partition}, cluster {rows[0]['cluster']}",
                ),
                f"Cluster {rows[0]['cluster']} of {partition} with its labels",
            )
        )
        facts["bands_preview"] = dg.MetadataValue.md(
            markdown_image(band_panels(raster.data[:-1], bands, valid=raster.valid), "Every band")
        )
        facts["images"] = table_of(rows)
    return facts


def warn_of_unread(partition: Partition, name: str, windows: Iterable[FailedWindow]) -> None:
    """Log what could not be read of a composite or a cube, a line for each error."""
    for error, count in Counter(window.error for window in windows).items():
        windows_lost = "1 window" if count == 1 else f"{count} windows"
        partition.log.warning(f"{partition} {name}: {error} ({windows_lost})")


@dataclass(frozen=True)
class ClusterArea:
    """Where the composite of a cluster lies, and of which scenes it is made."""

    geobox: GeoBox
    items: Sequence[Item]


def cluster_areas(partition: Partition) -> dict[int, ClusterArea]:
    """Return grid and scenes, of the composite's dates, of each cluster with a pixel grid.

    Raises:
        StorageError: If an upstream table is not materialized.
    """
    from geo_assets.products.area_grid import grid_of_area
    from geo_assets.sources.scenes.order import solar_day

    campaign = partition.campaign
    first, last = campaign.composite_dates
    areas = {}
    for box, items in scenes_of_boxes(partition):
        grid = grid_of_area(partition.source, box, items, campaign.bands, campaign.grid)
        if grid is None:
            partition.log.warning(
                f"{partition} cluster {box.cluster}: no scene, and no grid.resolution to make a "
                "pixel grid without one; it has no composite and no chips"
            )
            continue
        dated = [item for item in items if first <= solar_day(item).item() <= last]
        areas[box.cluster] = ClusterArea(grid, dated)
    return areas


def composite_rules(campaign: Campaign) -> CompositeRules:
    """Return how the campaign's observations and polygons become a composite."""
    from geo_assets.sources.rules import CompositeRules

    return CompositeRules(
        bands=campaign.composite.bands,
        reducer=campaign.composite.reducer,
        dtype=None if campaign.composite.dtype == "native" else campaign.composite.dtype,
        clouds=cloud_rules(campaign),
        all_touched=campaign.labels.all_touched,
        overlap=campaign.labels.overlap,
        percentile=campaign.composite.percentile,
    )


def composite_builders(partition: Partition) -> dict[int, CompositeBuilder]:
    """Return, for each cluster with a pixel grid, what builds and heals its composite.

    Raises:
        StorageError: If an upstream table is not materialized.
    """
    from geo_assets.products.composites.builder import CompositeBuilder

    campaign = partition.campaign
    labels = read_labels_of_fold(partition)
    rules = composite_rules(campaign)
    tags = {"TIFFTAG_COPYRIGHT": campaign.licence, "TIFFTAG_ARTIST": campaign.attribution}
    return {
        cluster: CompositeBuilder(
            partition.raster_source,
            area.items,
            area.geobox,
            rules,
            labels,
            tags={k: v for k, v in tags.items() if v},
        )
        for cluster, area in cluster_areas(partition).items()
    }


def cloud_rules(campaign: Campaign) -> CloudRules:
    """Return the campaign's rules for clear observations."""
    from geo_assets.sources.rules import CloudRules

    clouds = campaign.clouds
    return CloudRules(clouds.band, clouds.exclude, clouds.dilate_m)


def label_classes(partition: Partition) -> ClassTable:
    """Return name and colour of each label value of the campaign.

    Raises:
        StorageError: If ``labels`` is not materialized.
    """
    from geo_assets.previews.palette import class_colours
    from geo_assets.storage.geoparquet import read_metadata

    path = partition.layout.labels(partition.fold, partition.split)
    classes = read_metadata(path, asset="labels")["classes"]
    colours = class_colours(len(classes))
    return {
        value: (name, colour)
        for (name, value), colour in zip(classes.items(), colours, strict=True)
    }


def rgb_indices(campaign: Campaign) -> list[int]:
    """Return which bands of a composite are shown as red, green and blue."""
    from geo_assets.core.band_names import common_name

    bands = campaign.composite.bands
    if campaign.chips.preview_bands is not None:
        return [bands.index(band) for band in campaign.chips.preview_bands]
    names = [common_name(band) for band in bands]
    for colours in (("red", "green", "blue"), ("nir", "red", "green"), ("swir16", "nir", "red")):
        if set(colours) <= set(names):
            return [names.index(colour) for colour in colours]
    return [0, 1, 2] if len(bands) >= 3 else [0, 0, 0]


def _bytes_of(builder: CompositeBuilder) -> int:
    """Bytes of a composite at most: uncompressed, with overviews."""
    rows, cols = builder.geobox.shape
    return rows * cols * (len(builder.rules.bands) + 1) * 4 * 4 // 3
