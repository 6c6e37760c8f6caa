"""``geo-assets plan``: what a run would do, before it does it.

The light steps (labels, clusters, scenes, chip grid) run for real in a scratch folder; nothing is
published and no pixel is read.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from geo_assets.assets.areas import aoi_clusters, labels
from geo_assets.assets.chips import chip_grid
from geo_assets.assets.imagery import composite_builders, scenes
from geo_assets.assets.step import Partition
from geo_assets.resources import ImagerySource
from geo_assets.storage.disk import free_bytes
from geo_assets.storage.layout import Layout

if TYPE_CHECKING:
    from rich.console import Console

    from geo_assets.campaign import Campaign

ARCHIVES = "simulated_archive"


@dataclass(frozen=True)
class PartitionPlan:
    """What a run would do for one fold and split.

    Attributes:
        fold: The fold.
        split: The split.
        clusters: AOI clusters.
        scenes: Different scenes.
        chips: Chips.
        reads: Files opened to read imagery: a band of a scene for a cluster is one.
        megabytes: Upper bound of what is written: composites, chips and cubes, uncompressed.
    """

    fold: str
    split: str
    clusters: int
    scenes: int
    chips: int
    reads: int
    megabytes: float


def plan_campaign(campaign: Campaign, layout: Layout) -> list[PartitionPlan]:
    """Plan every partition, in the campaign's order.

    Raises:
        GeoAssetsError: If areas or imagery cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="geo-assets-plan-") as folder:
        archives = layout.root / ARCHIVES
        archives.mkdir(parents=True, exist_ok=True)
        (Path(folder) / ARCHIVES).symlink_to(archives, target_is_directory=True)
        scratch = Layout(Path(folder), campaign.name)
        return [
            _plan(campaign, scratch, fold, split)
            for fold in campaign.folds
            for split in campaign.splits
        ]


def _plan(campaign: Campaign, scratch: Layout, fold: str, split: str) -> PartitionPlan:
    log = logging.getLogger(__name__)
    partition = Partition(campaign, scratch, fold, split, ImagerySource(), "plan", log)
    for step in (labels, aoi_clusters, scenes):
        step.make(partition)
    facts = chip_grid.make(partition)
    builders = composite_builders(partition)
    bands = len(campaign.bands) + 1
    written = facts["chips"] * campaign.chips.size**2 * bands * 2
    reads = 0
    for builder in builders.values():
        rows, cols = builder.geobox.shape
        written += rows * cols * 2 * (bands + len(builder.items))
        reads += len(builder.items) * bands
    names = {item["id"] for builder in builders.values() for item in builder.items}
    return PartitionPlan(
        fold, split, len(builders), len(names), facts["chips"], reads, written / 1024**2
    )


def print_plan(
    console: Console, campaign: Campaign, layout: Layout, plans: list[PartitionPlan]
) -> None:
    """Print the plan with its sums, and the room there is."""
    table = Table(title=f"{campaign.name}: what a run would do", title_justify="left")
    names = [field.name for field in fields(PartitionPlan)]
    for name in names:
        table.add_column(name, justify="left" if name in {"fold", "split"} else "right")
    for plan in plans:
        table.add_row(*(_cell(getattr(plan, name)) for name in names))
    table.add_section()
    sums = [_cell(sum(getattr(plan, name) for plan in plans)) for name in names[2:]]
    table.add_row("all", "", *sums)
    console.print(table)
    free = free_bytes(layout.root) / 1024**2
    console.print(f"Results go to {layout.folder}; {free:,.0f} MB are free there.", soft_wrap=True)


def _cell(value: str | float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
