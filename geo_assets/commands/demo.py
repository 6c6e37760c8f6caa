"""``geo-assets demo``: the demo campaign, twice, so that one can watch it heal.

The first run meets a damaged and a missing file; the archive then repairs the damaged one, and the
second run asks again for exactly the chips that failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.build import build_defs
from geo_assets.campaign_file import load_campaign
from geo_assets.commands.home import prepare_home
from geo_assets.commands.status import campaign_status, print_status
from geo_assets.errors import GeoAssetsError
from geo_assets.jobs import EVERYTHING, REDOWNLOAD
from geo_assets.partitions import tags_of_everything
from geo_assets.resources import Results

if TYPE_CHECKING:
    from rich.console import Console


def run_demo(console: Console) -> None:
    """Materialize the demo campaign, let its archive repair itself, and ask again.

    Raises:
        GeoAssetsError: If ``DAGSTER_HOME`` names no usable folder, or a run fails.
    """
    from geo_assets.sources.archive import archive_folder
    from geo_assets.sources.simulated import repair_archive

    prepare_home()
    campaign = load_campaign("demo")
    defs = build_defs(campaign)
    layout = Results().layout(campaign.name)
    with dg.DagsterInstance.get() as instance:

        def run(job: str) -> None:
            result = defs.resolve_job_def(job).execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "INFO"}}}},
                tags=tags_of_everything(campaign),
            )
            if not result.success:
                raise GeoAssetsError(f"the job {job} failed; its log is above and in the UI")

        console.rule("First run: every asset, every fold and split")
        run(EVERYTHING)
        before = campaign_status(campaign, layout)
        print_status(console, campaign, before)
        repaired = repair_archive(archive_folder(campaign, layout))
        console.rule(f"The archive repaired {', '.join(repaired) or 'nothing more'}; second run")
        run(REDOWNLOAD)
        after = campaign_status(campaign, layout)
        print_status(console, campaign, after, before=before)
    console.print(f"\nResults: {layout.folder}\nLook at the graph and its pictures: make dev")
