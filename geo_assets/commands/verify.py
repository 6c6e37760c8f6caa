"""``geo-assets verify``: every chip read and hashed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from geo_assets.partitions import partition_key

if TYPE_CHECKING:
    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.storage.chip_reports import VerifyReport
    from geo_assets.storage.layout import Layout


def verify_campaign(campaign: Campaign, layout: Layout) -> dict[str, VerifyReport]:
    """Verify every partition that has a chip catalog; corrupt chips are marked for the next run.

    Raises:
        LockedError: If a run works on one of them.
    """
    from geo_assets.assets.chips import chip_store

    return {
        partition_key(fold, split): chip_store(campaign, layout, fold, split).verify()
        for fold in campaign.folds
        for split in campaign.splits
        if layout.chip_catalog(fold, split).is_file()
    }


def print_report(console: Console, reports: dict[str, VerifyReport]) -> bool:
    """Print what was found; return whether every chip is sound."""
    for key, report in reports.items():
        for chip in report.corrupt:
            line = f" {key} {chip.chip_id}: {chip.reason}"
            console.print(Text.assemble(("corrupt", "red"), line))
    checked = sum(report.checked for report in reports.values())
    corrupt = sum(len(report.corrupt) for report in reports.values())
    console.print(f"{checked} chips read and hashed, {corrupt} corrupt")
    if corrupt:
        console.print("They are marked failed; materialize chip_catalog to restore exactly them.")
    return corrupt == 0
