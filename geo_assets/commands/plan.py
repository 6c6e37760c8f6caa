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

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from geo_assets.assets.areas import aoi_clusters, labels
from geo_assets.assets.chips import chip_grid
from geo_assets.assets.imagery import cluster_areas
from geo_assets.assets.scenes import scenes, scenes_of_boxes
from geo_assets.assets.step import Partition
from geo_assets.campaign_imagery import EarthEngineImagery, SimulatedImagery
from geo_assets.resources import ImagerySource
from geo_assets.sources.archive import archive_folder, prepare_archive
from geo_assets.sources.protocol import SERVER_KINDS
from geo_assets.sources.stac.services import imagery_notices
from geo_assets.storage.disk import free_bytes
from geo_assets.storage.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.campaign_cubes import Cube

STEPS = (labels, aoi_clusters, scenes, chip_grid)
"""The steps that read no pixel."""

BYTES_OF_A_VALUE = 4
"""Of composites and chips, at most: 16-bit integers take half of it."""


@dataclass(frozen=True)
class PartitionPlan:
    """What a run would do for one fold and split.

    Attributes:
        fold: The fold.
        split: The split.
        clusters: AOI clusters.
        scenes: Different scenes.
        chips: Chips.
        reads: Bands of scenes that are read, for each cluster and each of composite and cube; of a
            server: requests for chips and previews, repeated ones not counted.
        megabytes: Upper bound of the pixels written: composites, chips and cubes, uncompressed.
        warnings: What the steps warned of, each once: why there is no scene, above all.
    """

    fold: str
    split: str
    clusters: int
    scenes: int
    chips: int
    reads: int
    megabytes: float
    warnings: tuple[str, ...] = ()


class _Warnings(logging.Logger):
    """A log that keeps what steps warn of; nothing of it goes anywhere else."""

    def __init__(self) -> None:
        super().__init__(__name__, logging.WARNING)
        self.told: list[str] = []

    def handle(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.told.append(record.getMessage())


def plan_campaign(campaign: Campaign, layout: Layout) -> list[PartitionPlan]:
    """Plan every partition, in the campaign's order.

    A simulated archive is written where a run will look for it, if it is not there.

    Raises:
        GeoAssetsError: If areas or imagery cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="geo-assets-plan-") as folder:
        scratch = Layout(Path(folder), campaign.name)
        if isinstance(campaign.imagery, SimulatedImagery):
            archive, there = prepare_archive(campaign, layout), archive_folder(campaign, scratch)
            there.parent.mkdir(parents=True)
            there.symlink_to(archive, target_is_directory=True)
        return [
            _plan(campaign, scratch, fold, split)
            for fold in campaign.folds
            for split in campaign.splits
        ]


def _plan(campaign: Campaign, scratch: Layout, fold: str, split: str) -> PartitionPlan:
    log = _Warnings()
    partition = Partition(campaign, scratch, fold, split, ImagerySource(), "plan", log)
    facts = {step.name: step.make(partition) for step in STEPS}
    chips = int(facts["chip_grid"]["dagster/row_count"])
    if campaign.imagery.kind in SERVER_KINDS:
        reads, written = _requests(partition, chips), 0
    else:
        reads, written = _rasters(partition)
    return PartitionPlan(
        fold,
        split,
        clusters=facts["aoi_clusters"]["clusters"],
        scenes=facts["scenes"]["scenes"],
        chips=chips,
        reads=reads,
        megabytes=(written + chips * campaign.chips.size**2 * _bytes_of_a_pixel(campaign))
        / 1024**2,
        warnings=tuple(dict.fromkeys(log.told)),
    )


def _rasters(partition: Partition) -> tuple[int, int]:
    """Bands of scenes that are read, and bytes of the composites and cubes made of them."""
    campaign = partition.campaign
    bands = campaign.composite.bands
    cloud_band = 0 if campaign.clouds.band is None else 1
    reads = written = 0
    scenes_of = {box.cluster: items for box, items in scenes_of_boxes(partition)}
    for cluster, area in cluster_areas(partition).items():
        rows, cols = area.geobox.shape
        written += rows * cols * _bytes_of_a_pixel(campaign)
        reads += len(area.items) * (len(bands) + cloud_band)
        if campaign.cube is not None:
            scenes_of_cube = len(scenes_of[cluster])
            written += rows * cols * scenes_of_cube * 2 * _variables(campaign.cube, bands)
            reads += scenes_of_cube * (len(campaign.cube.all_bands(bands)) + cloud_band)
    return reads, written


def _variables(cube: Cube, bands: Sequence[str]) -> int:
    """Variables of a cube; of two bytes a value, which few bands exceed."""
    indices = 1 + len(cube.indices(bands))
    return indices * (1 if cube.smoothing is None else 2) + len(cube.raw_bands(bands))


def _requests(partition: Partition, chips: int) -> int:
    """Requests to a server that composes scenes itself: one a chip, and one a preview.

    A chip that is a picture is named by one request and fetched by another; what is confirmed is
    asked twice.
    """
    campaign = partition.campaign
    pictures = campaign.chips.format in {"png", "jpg"}
    imagery = campaign.imagery
    confirmed = isinstance(imagery, EarthEngineImagery) and imagery.confirm == "twice"
    previews = sum(bool(area.items) for area in cluster_areas(partition).values())
    return (chips * (1 + pictures) + previews) * (1 + confirmed)


def _bytes_of_a_pixel(campaign: Campaign) -> int:
    return (len(campaign.composite.bands) + 1) * BYTES_OF_A_VALUE


def print_plan(
    console: Console, campaign: Campaign, layout: Layout, plans: list[PartitionPlan]
) -> None:
    """Print the plan with its sums, what the steps warned of, and the room there is."""
    table = Table(title=Text(f"{campaign.name}: what a run would do"), title_justify="left")
    names = [field.name for field in fields(PartitionPlan) if field.name != "warnings"]
    for name in names:
        table.add_column(name, justify="left" if name in {"fold", "split"} else "right")
    for plan in plans:
        table.add_row(*(_cell(getattr(plan, name)) for name in names))
    table.add_section()
    sums = [_cell(sum(getattr(plan, name) for plan in plans)) for name in names[2:]]
    table.add_row("all", "", *sums)
    console.print(table)
    free = free_bytes(layout.root) / 1024**2
    told = (*imagery_notices(campaign), *(each for plan in plans for each in plan.warnings))
    for notice in dict.fromkeys(told):
        console.print(f"[yellow]warning[/yellow] {escape(notice)}", soft_wrap=True)
    console.print(f"Results go to {layout.folder}; {free:,.0f} MB are free there.", soft_wrap=True)


def _cell(value: str | float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
