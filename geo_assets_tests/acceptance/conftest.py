"""Results that several acceptance tests look at, each made once a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from geo_assets.campaign_file import load_campaign
from geo_assets_tests.acceptance.support import Workplace, materialize, render

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from dagster import ExecuteInProcessResult

    from geo_assets.campaign import Campaign


@dataclass(frozen=True)
class Demo:
    """What ``geo-assets demo`` left behind, and what it said. Tests read it; copies may change."""

    place: Workplace
    process: subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Made:
    """A campaign whose assets were all materialized, with the run that did it."""

    place: Workplace
    path: Path
    campaign: Campaign
    result: ExecuteInProcessResult


@pytest.fixture(scope="session")
def demo(archive, tmp_path_factory) -> Demo:
    place = Workplace(tmp_path_factory.mktemp("demo"))
    place.place_archive(archive)
    home = place.run("geo-assets", "home")
    assert home.returncode == 0, home.stderr
    return Demo(place, place.run("geo-assets", "demo"))


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    """Materialize every asset of a campaign template in a workplace of its own."""

    def make_campaign(template, archive=None, prepare=None, **values) -> Made:
        place = Workplace(tmp_path_factory.mktemp(template))
        if archive is not None:
            place.place_archive(archive)
        path = render(template, place.folder, **values)
        if prepare is not None:
            prepare(place.folder)
        return Made(place, path, load_campaign(str(path)), materialize(path, place))

    return make_campaign


@pytest.fixture(scope="session")
def fields(make, archive) -> Made:
    """The small simulated campaign; its chips of 128 pixels hold a leaf of a failed read whole."""
    return make("fields", archive, chip_size=128, overlap=0)


@pytest.fixture(scope="session")
def aberystwyth(make, real_data) -> Made:
    return make("aberystwyth", GEO_ASSETS_TEST_DATA=real_data)


@pytest.fixture(scope="session")
def aberystwyth_splits(make, real_data) -> Made:
    return make("aberystwyth_splits", GEO_ASSETS_TEST_DATA=real_data)
