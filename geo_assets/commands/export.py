"""``geo-assets export``: the chips of the catalogs in the folders and under the names of others.

One function for each layout; ``LAYOUTS`` names them. A layout copies, it never changes results.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from rich.progress import Progress
from rich.text import Text

from geo_assets.commands.partitions import chosen, locked
from geo_assets.errors import CampaignError, StorageError
from geo_assets.partitions import fold_and_split, partition_key

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.storage.chips.classic_folder import ClassicFolder, NumberedChip
    from geo_assets.storage.layout import Layout


@dataclass(frozen=True)
class Exported:
    """What an export did for one fold and split."""

    key: str
    """``north|train``."""
    folder: Path
    index: Path
    copied: int
    kept: int
    removed: int
    changed: tuple[str, ...]
    """Files of an earlier export that were to be removed and stay: somebody changed them."""
    left_out: int
    """Failed chips, which have no file."""


class ExportLayout(Protocol):
    """Copies the ``ok`` chips of partitions to a folder."""

    def __call__(
        self,
        campaign: Campaign,
        layout: Layout,
        to: Path,
        keys: list[str],
        *,
        start_index: int,
        console: Console,
    ) -> list[Exported]:
        """Copy the chips of the partitions ``keys`` below ``to``.

        Raises:
            StorageError: A catalog is not materialized, a chip is damaged, or a file of somebody
                else is in the way.
            LockedError: A run works on one of the partitions.
        """


def export_chips(
    campaign: Campaign,
    layout: Layout,
    to: Path,
    *,
    form: str,
    start_index: int,
    fold: str | None,
    split: str | None,
    console: Console,
) -> list[Exported]:
    """Export all folds and splits, or those that are named, in the campaign's order.

    Args:
        campaign: The campaign.
        layout: Where its results lie.
        to: The folder that the layout begins in.
        form: One of ``LAYOUTS``.
        start_index: Number of the first chip of each fold and split.
        fold: One fold; None for all.
        split: One split; None for all.
        console: Shows progress.

    Raises:
        CampaignError: If the campaign has no such fold or split.
        StorageError: See ``ExportLayout``; also where ``to`` lies among the results.
        LockedError: If a run works on one of the partitions.
    """
    to = to.expanduser().resolve()
    if to.is_relative_to(layout.folder.resolve()):
        raise StorageError(f"{to}: lies among the results of {campaign.name}; export elsewhere")
    keys = [
        partition_key(each_fold, each_split)
        for each_fold in chosen("fold", fold, campaign.folds)
        for each_split in chosen("split", split, campaign.splits)
    ]
    for key in keys:
        path = layout.chip_catalog(*fold_and_split(key))
        if not path.is_file():
            raise StorageError(
                f"{key}: has no chips yet ({path} does not exist); materialize chip_catalog first, "
                "or choose with --fold and --split"
            )
    with ExitStack() as locks:
        # A run would replace chips while they are copied.
        for key in keys:
            locked(locks, layout, "chips", key, "export")
        return LAYOUTS[form](campaign, layout, to, keys, start_index=start_index, console=console)


def export_classic(
    campaign: Campaign,
    layout: Layout,
    to: Path,
    keys: list[str],
    *,
    start_index: int,
    console: Console,
) -> list[Exported]:
    """Copy chips to ``Chips/{domain}/fold{n}/{split}/{domain}_{split}_imgs_{00042}.tif``.

    They are numbered in the order of their ids, from ``start_index`` in each fold and split. The
    index beside each folder keeps what the numbers lose, see ``storage/chips/classic_folder.py``.
    Every partition is looked at before the first is written.
    """
    from geo_assets.storage.disk import require_room

    domain = campaign.domain or campaign.name
    fold_folders = _fold_folders(campaign)
    work = []
    for key in keys:
        fold, split = fold_and_split(key)
        target = _classic_folder(to, domain, fold_folders[fold], split, campaign.name)
        chips, statuses = _numbered(layout, fold, split, target, start_index)
        work.append((key, target, target.plan(chips), statuses["failed"]))
    require_room(to, sum(plan.bytes_copied for _, _, plan, _ in work), f"export to {to}")
    exported = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        for key, target, plan, failed in work:
            bar = bars.add_task(key, total=len(plan.copied))
            changed = target.publish(plan, partial(bars.advance, bar))
            exported.append(
                Exported(
                    key=key,
                    folder=target.folder,
                    index=target.index,
                    copied=len(plan.copied),
                    kept=plan.kept,
                    removed=len(plan.removed) - len(changed),
                    changed=tuple(changed),
                    left_out=failed,
                )
            )
    return exported


LAYOUTS: dict[str, ExportLayout] = {"classic": export_classic}


def print_exported(console: Console, exported: list[Exported]) -> None:
    """Print a line for each partition, and what a person should know about it."""
    for each in exported:
        counts = f"{each.copied} copied, {each.kept} kept, {each.removed} removed"
        console.print(
            Text(f"{each.key}: {each.copied + each.kept} chips in {each.folder}, {counts}")
        )
        if each.left_out:
            console.print(
                Text(
                    f"  {each.left_out} failed chips are left out; materialize chip_catalog and "
                    "export again (the chips after them get other numbers)",
                    style="yellow",
                )
            )
        for file in each.changed:
            console.print(
                Text(f"  {file} is no longer wanted, but stays: it was changed", style="yellow")
            )
    console.print(
        f"Which chip is which: {exported[0].index.name} and its like, beside the folders of chips"
    )


def _fold_folders(campaign: Campaign) -> dict[str, str]:
    """Return the folder of each fold: ``3`` is called ``fold3``, every other name stays."""
    folders = {
        fold: f"fold{fold}" if re.fullmatch("[0-9]+", fold) else fold for fold in campaign.folds
    }
    taken = Counter(folders.values())
    twins = [fold for fold in campaign.folds if taken[folders[fold]] > 1]
    if twins:
        raise CampaignError(
            f"folds {' and '.join(twins)} would share the folder {folders[twins[0]]}; rename one"
        )
    return folders


def _classic_folder(to: Path, domain: str, fold: str, split: str, campaign: str) -> ClassicFolder:
    from geo_assets.storage.chips.classic_folder import ClassicFolder

    return ClassicFolder(to / "Chips" / domain / fold, domain, split, campaign)


def _numbered(
    layout: Layout, fold: str, split: str, target: ClassicFolder, start_index: int
) -> tuple[list[NumberedChip], Counter[str]]:
    """Return the ``ok`` chips of a partition under their numbers, and the count of each status."""
    from geo_assets.storage.chips.catalog import open_catalog, read_rows
    from geo_assets.storage.chips.classic_folder import NumberedChip
    from geo_assets.storage.chips.index import IndexRow
    from geo_assets.storage.chips.paths import ChipPaths

    paths = ChipPaths.of(layout, fold, split)
    rows = sorted(read_rows(paths.catalog), key=lambda row: row.spec.chip_id)
    footprints = open_catalog(paths.catalog).set_index("chip_id").geometry
    chips: list[NumberedChip] = []
    for row in rows:
        if row.href is not None and "#" in row.href:
            raise StorageError(
                f"{paths.catalog.name} of {fold}: its chips lie in one Zarr store, an export wants "
                "a file for each; set chips.format to tif and materialize chip_catalog first"
            )
        if row.href is not None:
            source = paths.file(row.href)
            file = target.file(start_index + len(chips), source.suffix)
            footprint = footprints[row.spec.chip_id]
            chips.append(NumberedChip(source, IndexRow.of(row, footprint, file)))
    return chips, Counter(row.outcome.status for row in rows)
