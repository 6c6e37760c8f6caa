"""``geo-assets verify``: every chip read and hashed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from geo_assets.errors import StorageError
from geo_assets.partitions import fold_and_split, partition_keys

if TYPE_CHECKING:
    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.storage.chips.reports import VerifyReport
    from geo_assets.storage.layout import Layout


@dataclass(frozen=True)
class Verification:
    """What was found in the partitions that could be looked at, and why others could not."""

    reports: dict[str, VerifyReport]
    not_seen: dict[str, str]


def verify_campaign(campaign: Campaign, layout: Layout) -> Verification:
    """Verify every partition that has a chip catalog; corrupt chips are marked for the next run.

    One that a run works on, or that cannot be read, keeps none of the others from it.
    """
    from geo_assets.assets.chip_sources import chip_collection
    from geo_assets.storage.chips.paths import ChipPaths
    from geo_assets.storage.chips.verification import verify_chips

    found = Verification({}, {})
    for key in partition_keys(campaign):
        fold, split = fold_and_split(key)
        if not layout.chip_catalog(fold, split).is_file():
            continue
        paths = ChipPaths.of(layout, fold, split)
        try:
            found.reports[key] = verify_chips(paths, chip_collection(campaign))
        except StorageError as error:
            found.not_seen[key] = str(error)
    return found


def print_report(console: Console, found: Verification) -> bool:
    """Print what was found; return whether every chip is sound.

    Raises:
        StorageError: After that, if a partition could not be looked at.
    """
    reports = found.reports
    for key, report in reports.items():
        for chip in report.corrupt:
            line = f" {key} {chip.chip_id}: {chip.reason}"
            console.print(Text.assemble(("corrupt", "red"), line))
    checked = sum(report.checked for report in reports.values())
    corrupt = sum(len(report.corrupt) for report in reports.values())
    console.print(f"{checked} chips read and hashed, {corrupt} corrupt")
    if corrupt:
        console.print("They are marked failed; materialize chip_catalog to restore exactly them.")
    if found.not_seen:
        raise StorageError("; ".join(f"{key}: {error}" for key, error in found.not_seen.items()))
    return corrupt == 0
