from __future__ import annotations

import pytest

from geo_assets.build import STEPS, build_defs
from geo_assets.campaign_file import load_campaign
from geo_assets.jobs import AREAS_AND_CHIPS, CUBES_AND_LABELS, LAND_COVER, build_jobs

NAMES = {step.name for step in STEPS}
UPSTREAM = {step.name: set(step.upstream) for step in STEPS}


@pytest.mark.parametrize("selection", [AREAS_AND_CHIPS, CUBES_AND_LABELS, LAND_COVER])
def test_a_job_runs_everything_that_its_assets_need(selection):
    """A job without an upstream of its own fails on a fresh folder of results."""
    assert set(selection) <= NAMES
    for name in selection:
        assert UPSTREAM[name] <= set(selection)


def test_the_jobs_together_make_every_asset():
    assert {*AREAS_AND_CHIPS, *CUBES_AND_LABELS, *LAND_COVER} == NAMES


def test_every_job_says_what_it_is_for_and_whose_it_is():
    campaign = load_campaign("demo")
    defs = build_defs(campaign)
    for name in build_jobs(campaign, NAMES):
        job = defs.resolve_job_def(name)
        assert job.description
        assert job.tags["geo_assets/campaign"] == "demo"


def test_jobs_of_a_source_without_cubes_have_none():
    jobs = build_jobs(load_campaign("cashew"), {"labels", "aoi_clusters", "chip_catalog"})
    assert "cubes_and_labels" not in jobs
