"""``geo-assets compact``: a copy of each cube in which whole series lie together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from geo_assets.commands.partitions import chosen, locked
from geo_assets.errors import StorageError
from geo_assets.partitions import partition_key
from geo_assets.storage.disk import occupied_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout


@dataclass(frozen=True)
class Compacted:
    """The time-major copy of one cube."""

    key: str
    """``north|train``."""
    cube: Path
    copy: Path
    made: bool
    """False: it was there, of the cube's present state."""


def compact_cubes(
    campaign: Campaign, layout: Layout, fold: str | None, split: str | None, *, force: bool
) -> list[Compacted]:
    """Make the time-major copies of a campaign's cubes that are absent or of an earlier state.

    Args:
        campaign: The campaign.
        layout: Where its results lie.
        fold: One fold; None for all.
        split: One split; None for all.
        force: Make copies anew that are of the cube's state.

    Raises:
        CampaignError: If the campaign has no such fold or split.
        StorageError: If there is no cube, or a cube cannot be read or is damaged.
        LockedError: If a run works on the cubes of one of the partitions.
    """
    from geo_assets.storage.cubes.opening import published_cubes
    from geo_assets.storage.cubes.time_major import compact_cube

    done = []
    for each_fold in chosen("fold", fold, campaign.folds):
        for each_split in chosen("split", split, campaign.splits):
            key = partition_key(each_fold, each_split)
            with ExitStack() as locks:
                locked(locks, layout, "ndvi_cube", key, "compact")
                for cube in published_cubes(layout, each_fold, each_split).values():
                    copy, made = compact_cube(cube, force=force)
                    done.append(Compacted(key, cube, copy, made))
    if not done:
        raise StorageError(f"{campaign.name}: has no cube yet; materialize ndvi_cube first")
    return done


def print_compacted(console: Console, done: list[Compacted]) -> None:
    """Print what each copy costs on the disk."""
    table = Table("partition", "cube", "MB", "time-major", "MB", "")
    for each in done:
        sizes = [f"{occupied_bytes(path) / 1e6:.1f}" for path in (each.cube, each.copy)]
        what = "made" if each.made else "kept"
        table.add_row(each.key, each.cube.name, sizes[0], each.copy.name, sizes[1], what)
    console.print(table)
