"""Jobs: selections of the graph that people and schedules run by name.

No logic lives here. https://docs.dagster.io/guides/build/jobs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.assets.scene_watch import LOOK, look_for_scenes_job

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    # What dg.define_asset_job returns; Dagster exports no public name for it.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from geo_assets.campaign import Campaign

    Job = UnresolvedAssetJobDefinition | dg.JobDefinition

AREAS_AND_CHIPS = (
    "labels",
    "aoi_clusters",
    "scenes",
    "composite_image",
    "chip_grid",
    "chip_catalog",
)
CUBES_AND_LABELS = (
    "labels",
    "aoi_clusters",
    "scenes",
    "ndvi_cube",
    "ndvi_spatial_labels",
    "ndvi_temporal_labels",
    "ndvi_label_changes",
)
LAND_COVER = ("labels", "aoi_clusters", "scenes", "composite_image", "land_cover_labels")

_CHECKS_OF_ORIGIN = {
    "ndvi_spatial_labels": "labels_are_of_their_cube",
    "ndvi_temporal_labels": "labels_are_of_their_cube",
    "land_cover_labels": "labels_are_of_their_composite",
}
"""Asked every day: runs of chips heal composites, and of cubes alone change cubes, after labels."""

EVERYTHING = "everything"
REDOWNLOAD = "redownload_failed_chips"
CUBES = "cubes_and_labels"
LEFT_OVER = "check_what_is_left_failed"

CAMPAIGN_TAG = "geo_assets/campaign"
"""Tag of each run of a job: the name of its campaign."""


def build_jobs(campaign: Campaign, names: AbstractSet[str]) -> dict[str, Job]:
    """Return the jobs of a campaign by name.

    Args:
        campaign: The campaign.
        names: The assets that its source supports.
    """

    def assets(*wanted: str) -> dg.AssetSelection:
        return dg.AssetSelection.assets(
            *(dg.AssetKey([campaign.name, name]) for name in wanted if name in names)
        )

    def job(
        name: str, selection: dg.AssetSelection, description: str
    ) -> UnresolvedAssetJobDefinition:
        return dg.define_asset_job(
            name,
            selection=selection,
            description=description,
            tags={CAMPAIGN_TAG: campaign.name},
        )

    chips = dg.AssetKey([campaign.name, "chip_catalog"])
    left_over: dg.AssetSelection = dg.AssetSelection.checks_for_assets(chips)
    for labels, check in _CHECKS_OF_ORIGIN.items():
        if labels in names:
            key = dg.AssetCheckKey(dg.AssetKey([campaign.name, labels]), check)
            left_over |= dg.AssetSelection.checks(key)
    jobs: dict[str, Job] = {
        EVERYTHING: job(EVERYTHING, assets(*sorted(names)), "Every asset of the campaign."),
        "areas_and_chips": job(
            "areas_and_chips", assets(*AREAS_AND_CHIPS), "From label polygons to a chip catalog."
        ),
        REDOWNLOAD: job(
            REDOWNLOAD, assets("chip_catalog"), "Asks again what is not ok in the chip catalog."
        ),
        LEFT_OVER: job(
            LEFT_OVER,
            left_over,
            "Reports what is left failed, without asking anything again.",
        ),
    }
    if "ndvi_cube" in names:
        jobs[CUBES] = job(
            CUBES, assets(*CUBES_AND_LABELS), "From areas to cubes and label rasters."
        )
        jobs[LOOK] = look_for_scenes_job(campaign, {CAMPAIGN_TAG: campaign.name})
    if "land_cover_labels" in names:
        jobs["land_cover"] = job(
            "land_cover", assets(*LAND_COVER), "From areas to composites and land-cover labels."
        )
    return jobs
