"""Where the chips of a partition come from and where they go: local composites or a server.

How they converge is ``storage/chips/store.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.assets.areas import read_labels_of_fold
from geo_assets.assets.imagery import composite_builders, composite_rules, rgb_indices
from geo_assets.assets.server_imagery import label_table, server_areas
from geo_assets.campaign_imagery import EarthEngineImagery
from geo_assets.sources.protocol import SERVER_KINDS

if TYPE_CHECKING:
    from geo_assets.assets.step import Partition
    from geo_assets.campaign import Campaign
    from geo_assets.products.chips.composite_chips import CompositeChips
    from geo_assets.products.chips.server_chips import PictureFormat, ServerChips
    from geo_assets.sources.earth_engine.traffic import Traffic
    from geo_assets.sources.protocol import ServerSource
    from geo_assets.storage.chips.catalog import ChipCollection
    from geo_assets.storage.chips.expectation import Stretch
    from geo_assets.storage.chips.store import ChipStore
    from geo_assets.storage.layout import Layout

SPARE_THREADS = 10
"""Threads beyond a server's requests in flight: while some check and write what they got, its
slots stay full."""


def partition_chips(partition: Partition) -> CompositeChips | ServerChips:
    """Return what knows the wanted chips of a partition and gets each of them.

    Raises:
        StorageError: If an upstream asset is not materialized, or of another recipe.
    """
    if partition.campaign.imagery.kind in SERVER_KINDS:
        return server_chips(partition)
    return healed_composites(partition)


def server_chips(partition: Partition) -> ServerChips:
    """Return the chips of published expressions.

    Raises:
        StorageError: If they are not published, or the campaign or the scenes have changed since.
    """
    from geo_assets.products.chips.server_chips import ServerChips
    from geo_assets.products.composites.expression_sidecar import ExpressionSidecar

    layout, fold, split = partition.layout, partition.fold, partition.split
    table = label_table(partition)
    areas = server_areas(partition, table)
    for cluster, area in areas.items():
        path = layout.composite_sidecar(fold, split, cluster)
        ExpressionSidecar.require(path, area.composite)
    return ServerChips(
        partition.server_source,
        areas,
        composite_rules(partition.campaign),
        read_labels_of_fold(partition),
        table,
        partition.campaign.composite_dates,
        _picture(partition.campaign, layout, fold, split),
    )


def _picture(campaign: Campaign, layout: Layout, fold: str, split: str) -> PictureFormat | None:
    from geo_assets.products.chips.server_chips import PictureFormat

    chip_format = campaign.chips.format
    if chip_format not in {"png", "jpg"}:
        return None
    return PictureFormat(
        chip_format, _stretch(campaign, _dtype_of_composites(campaign, layout, fold, split))
    )


def healed_composites(partition: Partition) -> CompositeChips:
    """Return the composites of a partition after reading their failed windows again."""
    from geo_assets.products.chips.composite_chips import Composite, CompositeChips
    from geo_assets.storage.file_version import version_of
    from geo_assets.storage.partition_lock import partition_lock

    layout, fold, split = partition.layout, partition.fold, partition.split
    composites = {}
    builders = composite_builders(partition)
    with partition_lock(layout.lock("composite_image", fold, split), run_id=partition.run_id):
        for cluster, builder in builders.items():
            image = layout.composite_image(fold, split, cluster)
            place = layout.composite_sidecar(fold, split, cluster)
            sidecar = builder.heal(image, place, partition.workers)
            composites[cluster] = Composite(builder, image, version_of(image), sidecar)
    labels = read_labels_of_fold(partition)
    return CompositeChips(composites, labels, partition.campaign.composite_dates)


def chip_store(campaign: Campaign, layout: Layout, fold: str, split: str) -> ChipStore:
    """Return the store of one partition's chips."""
    from geo_assets.storage.chips.expectation import ChipEncoding
    from geo_assets.storage.chips.paths import ChipPaths
    from geo_assets.storage.chips.store import ChipStore
    from geo_assets.storage.rasters.cog import LABEL_BAND

    dtype = _dtype_of_composites(campaign, layout, fold, split)
    return ChipStore(
        ChipPaths.of(layout, fold, split),
        ChipEncoding(
            format=campaign.chips.format,
            bands=(*campaign.composite.bands, LABEL_BAND),
            dtype=dtype,
            stretch=_stretch(campaign, dtype),
        ),
        chip_collection(campaign),
    )


def chip_collection(campaign: Campaign) -> ChipCollection:
    """Return the STAC collection of a campaign's chips."""
    from geo_assets.storage.chips.catalog import ChipCollection

    return ChipCollection(
        campaign.name,
        campaign.title or f"Chips of the campaign {campaign.name}",
        campaign.licence or "other",
    )


def _dtype_of_composites(campaign: Campaign, layout: Layout, fold: str, split: str) -> str:
    """Dtype of a partition's composites: of those that are worked on, if there are any."""
    from geo_assets.products.composites.expression_sidecar import ExpressionSidecar
    from geo_assets.products.composites.sidecar import Sidecar, dtype_of_composites

    kind = ExpressionSidecar if campaign.imagery.kind in SERVER_KINDS else Sidecar
    paths = sorted(layout.composite_images(fold, split).glob("cluster-*.json"))
    only = campaign.clusters.only or ()
    chosen = [layout.composite_sidecar(fold, split, cluster) for cluster in only]
    paths = [path for path in paths if path in chosen] or paths
    sidecars = (kind.read(path) for path in paths)
    return dtype_of_composites([sidecar for sidecar in sidecars if sidecar is not None])


def _stretch(campaign: Campaign, dtype: str) -> Stretch:
    """How pictures show pixels: the same for all chips, so that neighbours can be compared."""
    from geo_assets.storage.chips.expectation import Stretch

    low, high = campaign.chips.stretch or (0, {"uint8": 255, "float32": 0.3}.get(dtype, 3000))
    red, green, blue = rgb_indices(campaign)
    return Stretch((red, green, blue), (low, low, low), (high, high, high))


def chip_threads(campaign: Campaign) -> int:
    """Return how many threads get chips; requests to a server are bounded by its source."""
    imagery = campaign.imagery
    if isinstance(imagery, EarthEngineImagery):
        return imagery.concurrency + SPARE_THREADS
    return campaign.chips.workers


@dataclass(frozen=True)
class ServerTraffic:
    """What a server was asked since a run began, for the log and for metadata."""

    source: ServerSource
    before: Traffic

    def line(self) -> str:
        """Return retries and concurrency for a line of the log."""
        now = self.source.traffic()
        return (
            f"{now.retries - self.before.retries} retries, "
            f"{now.in_flight} of {now.limit} requests in flight"
        )

    def facts(self) -> dict[str, int]:
        """Return requests, retries and throttled answers."""
        now = self.source.traffic()
        return {
            "requests": now.requests - self.before.requests,
            "retries": now.retries - self.before.retries,
            "throttled": now.throttled - self.before.throttled,
        }


def traffic_of(partition: Partition) -> ServerTraffic | None:
    """Return a count of requests that begins now; None where no server is asked."""
    if partition.campaign.imagery.kind not in SERVER_KINDS:
        return None
    return ServerTraffic(partition.server_source, partition.server_source.traffic())
