"""Where the simulated archive of a campaign lies, and its writing at first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.campaign_imagery import SimulatedImagery
from geo_assets.errors import CampaignError

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout


def archive_folder(campaign: Campaign, layout: Layout) -> Path:
    """Return where the campaign's simulated archive lies or will lie: beside the campaigns.

    Raises:
        CampaignError: If the campaign's imagery is not simulated.
    """
    if not isinstance(campaign.imagery, SimulatedImagery):
        raise CampaignError(
            f"{campaign.name}: paths 'archive:...' go with imagery of the kind 'simulated', "
            f"not {campaign.imagery.kind!r}"
        )
    return layout.root / "simulated_archive" / f"seed-{campaign.imagery.seed}"


def prepare_archive(campaign: Campaign, layout: Layout) -> Path:
    """Return the folder of the campaign's simulated archive, writing it if it is not there."""
    from geo_assets.sources.simulated import ArchiveSpec, write_archive

    folder = archive_folder(campaign, layout)
    assert isinstance(campaign.imagery, SimulatedImagery)  # noqa: S101  # archive_folder checked
    write_archive(folder, ArchiveSpec(seed=campaign.imagery.seed))
    return folder
