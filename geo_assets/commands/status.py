"""``geo-assets status``: what lies on disk for each fold and split, as one table.

Read from the results alone, never from Dagster's records: files and catalogs are the truth.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rich import box
from rich.table import Table
from rich.text import Text

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout

T = TypeVar("T")


@dataclass(frozen=True)
class PartitionStatus:
    """What one partition holds; None where the asset is not materialized, or damaged."""

    fold: str
    split: str
    clusters: int | None
    scenes: int | None
    ok: int | None
    no_imagery: int | None
    failed: int | None
    cube_dates: int | None
    label_rasters: int
    damaged: tuple[str, ...] = ()
    """Why each of what is damaged cannot be read."""


def campaign_status(campaign: Campaign, layout: Layout) -> list[PartitionStatus]:
    """Return the status of every partition, in the campaign's order."""
    return [
        partition_status(layout, fold, split)
        for fold in campaign.folds
        for split in campaign.splits
    ]


def partition_status(layout: Layout, fold: str, split: str) -> PartitionStatus:
    """Read what one partition holds; what is damaged keeps nothing else from being read."""
    from geo_assets.storage.chips.catalog import read_rows
    from geo_assets.storage.cubes.opening import published_cubes
    from geo_assets.storage.geoparquet import read_metadata
    from geo_assets.storage.scenes import read_scenes

    damaged: list[str] = []

    def read(path: Path, what: Callable[[Path], T]) -> T | None:
        try:
            return what(path) if path.exists() else None
        except StorageError as error:
            damaged.append(str(error))
            return None

    clusters = read(layout.aoi_clusters(fold, split), lambda p: len(read_metadata(p)["boxes"]))
    scenes = read(
        layout.scenes(fold, split), lambda p: len({item["id"] for item in read_scenes(p).items})
    )
    chips = read(
        layout.chip_catalog(fold, split), lambda p: Counter(r.outcome.status for r in read_rows(p))
    )
    cubes = published_cubes(layout, fold, split).values()
    days = [found for path in cubes if (found := read(path, _days)) is not None]
    rasters = sum(
        len(list(folder.rglob("*.tif")))
        for folder in (
            layout.ndvi_spatial_labels_folder(fold, split),
            layout.ndvi_temporal_labels_folder(fold, split),
            layout.land_cover_labels_folder(fold, split),
        )
    )
    return PartitionStatus(
        fold,
        split,
        clusters,
        scenes,
        None if chips is None else chips["ok"],
        None if chips is None else chips["no_imagery"],
        None if chips is None else chips["failed"],
        len(set[str]().union(*days)) if cubes and len(days) == len(cubes) else None,
        rasters,
        tuple(damaged),
    )


def _days(path: Path) -> set[str]:
    from geo_assets.storage.cubes.opening import open_cube

    with open_cube(path) as cube:
        return {str(day) for day in cube["time"].values.astype("datetime64[D]")}


def print_status(
    console: Console,
    campaign: Campaign,
    statuses: list[PartitionStatus],
    before: list[PartitionStatus] | None = None,
) -> bool:
    """Print the table and what is damaged, if anything; return whether nothing is.

    With ``before``, a changed number shows what it was.
    """
    table = Table(
        title=Text(f"{campaign.name}: {campaign.title}"), title_justify="left", box=box.SIMPLE
    )
    for name in ("fold", "split"):
        table.add_column(name)
    columns = ("clusters", "scenes", "ok", "no_imagery", "failed", "cube_dates", "label_rasters")
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for number, status in enumerate(statuses):
        earlier = before[number] if before else status
        cells = [_cell(getattr(earlier, name), getattr(status, name)) for name in columns]
        table.add_row(status.fold, status.split, *cells)
    table.add_section()
    sums = [
        _cell(_total(before or statuses, name), _total(statuses, name)) for name in columns[2:5]
    ]
    table.add_row("all", "", "", "", *sums, "", "")
    console.print(table)
    damaged = [f"damaged: {error}" for status in statuses for error in status.damaged]
    for line in damaged:
        console.print(Text(line, style="red"), soft_wrap=True)
    return not damaged


def _total(statuses: list[PartitionStatus], name: str) -> int:
    return sum(getattr(status, name) or 0 for status in statuses)


def _cell(earlier: int | None, now: int | None) -> str:
    text = "-" if now is None else str(now)
    return text if earlier == now else f"{'-' if earlier is None else earlier} → [bold]{text}[/]"
