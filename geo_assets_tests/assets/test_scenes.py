"""What the table of scenes refuses: to go from some scenes of a cluster to none."""

from __future__ import annotations

import datetime as dt
import re

import dagster as dg
import pytest

from geo_assets.build import build_defs
from geo_assets.errors import SourceError
from geo_assets.resources import Results
from geo_assets_tests.emulators.stac_api import free_port
from geo_assets_tests.watched_campaign import NORTH, Watched, materialized


@pytest.fixture
def ran(tmp_path):
    """The northern fold has been run once."""
    with dg.DagsterInstance.ephemeral() as instance:
        watched = Watched(tmp_path, instance, free_port())
        with watched.api():
            assert watched.run("cubes_and_labels", NORTH).success
        yield watched


def error_of(result):
    """What ended a run's first step that failed."""
    return result.get_step_failure_events()[0].step_failure_data.error.to_string()


def test_scenes_that_are_gone_take_no_results_with_them(ran):
    cubes = ran.layout.ndvi_cubes("north", "all")
    before = ran.files("north")
    ran.items = [item for item in ran.items if not item["id"].startswith("north")]
    with ran.api():
        result = ran.run("cubes_and_labels", NORTH)
    assert not result.success
    assert "north|all: no scene is used: the source has none; what was made of 2" in error_of(
        result
    )
    after = ran.files("north")
    assert after.keys() == before.keys()
    assert any(path.is_relative_to(cubes) for path in after)


def test_a_cluster_whose_scenes_are_gone_keeps_its_results_beside_others(tmp_path):
    of_one_fold = {
        "folds": ["both"],
        "areas": {"file": "areas.geojson"},
        "clusters": {"count": 2},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        watched = Watched(tmp_path, instance, free_port(), of_one_fold)
        with watched.api():
            assert watched.run("cubes_and_labels", "both|all").success
        before = watched.files("both")
        gone = watched.items[0]["id"].split("-")[0]
        watched.items = [item for item in watched.items if not item["id"].startswith(gone)]
        with watched.api():
            result = watched.run("cubes_and_labels", "both|all")
        assert re.search(
            r"both\|all, cluster \d: no scene is used: .*; what was made of 2 scenes before stays",
            error_of(result),
        )
        assert watched.files("both").keys() == before.keys()


def test_dates_without_a_scene_take_no_results_with_them(ran):
    before = ran.files("north")
    dates = {"start": dt.date(2031, 6, 1), "end": dt.date(2031, 6, 30)}
    later = ran.campaign.model_copy(update=dates)
    defs = build_defs(later, resources={"results": Results(data=str(ran.layout.root))})
    with ran.api(), pytest.raises(SourceError, match="no scene is used: the source has none"):
        materialized(ran, defs, "scenes")
    assert ran.files("north") == before


def test_a_band_that_no_scene_has_is_named(tmp_path):
    more = {"cube": {"area": "box", "variables": ["NDVI", "B12"]}}
    with dg.DagsterInstance.ephemeral() as instance:
        wanting = Watched(tmp_path, instance, free_port(), more)
        with wanting.api():
            result = wanting.run("cubes_and_labels", NORTH)
    assert (
        "no scene is used: 2 missing_band (scene north-2021-06-11: has no band 'B12'; it offers"
        in error_of(result)
    )
