"""``geo-assets verify``: every chip read and hashed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from geo_assets.errors import LockedError
from geo_assets.partitions import fold_and_split, partition_keys

if TYPE_CHECKING:
    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.storage.chips.reports import VerifyReport
    from geo_assets.storage.layout import Layout


def verify_campaign(campaign: Campaign, layout: Layout) -> dict[str, VerifyReport]:
    """Verify every partition that has a chip catalog; corrupt chips are marked for the next run.

    Raises:
        LockedError: If a run works on one of them.
    """
    from geo_assets.assets.chip_sources import chip_store
    from geo_assets.storage.chips.verification import verify_chips

    reports = {}
    for key in partition_keys(campaign):
        fold, split = fold_and_split(key)
        if not layout.chip_catalog(fold, split).is_file():
            continue
        try:
            reports[key] = verify_chips(chip_store(campaign, layout, fold, split))
        except LockedError as error:
            raise LockedError(f"{key}: {error}") from None
    return reports


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
