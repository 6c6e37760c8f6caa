"""The whole platform of one campaign on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.assets import server_imagery
from geo_assets.assets.areas import aoi_clusters, labels
from geo_assets.assets.chips import chip_catalog, chip_grid
from geo_assets.assets.cubes import ndvi_cube
from geo_assets.assets.imagery import composite_image
from geo_assets.assets.label_changes import ndvi_label_changes
from geo_assets.assets.land_cover import land_cover_labels
from geo_assets.assets.scenes import scenes
from geo_assets.assets.spatial_labels import ndvi_spatial_labels
from geo_assets.assets.temporal_labels import ndvi_temporal_labels
from geo_assets.checks import build_checks
from geo_assets.jobs import build_jobs
from geo_assets.resources import Compute, ImagerySource, Results
from geo_assets.schedules import build_schedules
from geo_assets.sensors import build_sensors
from geo_assets.sources.protocol import CUBES, SERVER_KINDS, supported_assets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets.campaign import Campaign

STEPS = (
    labels,
    aoi_clusters,
    scenes,
    composite_image,
    chip_grid,
    chip_catalog,
    ndvi_cube,
    ndvi_spatial_labels,
    ndvi_temporal_labels,
    ndvi_label_changes,
    land_cover_labels,
)
ON_SERVER = {composite_image.name: server_imagery.composite_image}
"""What stands for a step where the source composes scenes itself."""


def build_defs(campaign: Campaign, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Return the assets, checks, jobs, schedules and sensors of one campaign.

    Args:
        campaign: What the user chose.
        resources: Put in place of the resources of the same name (``results``, ``imagery``,
            ``compute``).
    """
    kind = campaign.imagery.kind
    steps = [ON_SERVER.get(step.name, step) for step in STEPS] if kind in SERVER_KINDS else STEPS
    names = {step.name for step in steps} & supported_assets(kind) - _not_asked_for(campaign)
    jobs = build_jobs(campaign, names)
    return dg.Definitions(
        assets=[step.bind(campaign) for step in steps if step.name in names],
        asset_checks=build_checks(campaign, names),
        jobs=list(jobs.values()),
        schedules=build_schedules(campaign, jobs),
        sensors=build_sensors(campaign, jobs, names),
        resources={
            "results": Results(),
            "imagery": ImagerySource(),
            "compute": Compute(),
            **(resources or {}),
        },
        # One process for all steps: a step in its own costs 4-5 CPU seconds of imports.
        executor=dg.in_process_executor,
    )


def _not_asked_for(campaign: Campaign) -> frozenset[str]:
    """Return the assets that need a section or a choice which the campaign does not have."""
    absent: set[str] = set()
    if campaign.cube is None:
        absent |= CUBES
    if campaign.spatial_labels.fit == "date":
        # Labels of a model each mean something else on every date: they cannot be followed.
        absent.add(ndvi_label_changes.name)
    if campaign.land_cover is None:
        absent.add(land_cover_labels.name)
    return frozenset(absent)
