"""One finished run of a small world, for all tests of commands that look at results."""

from __future__ import annotations

import dagster as dg
import pytest
from click.testing import CliRunner

from geo_assets.campaign_file import CAMPAIGN_VARIABLE
from geo_assets.cli import main
from geo_assets.partitions import partition_keys
from geo_assets.resources import DATA_VARIABLE
from geo_assets_tests.small_world import World

CHANGES = {"splits": ["train", "test"], "land_cover": {"n_clusters": 2}}


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    """The world after one range run of everything; nobody may change its results."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(tmp_path_factory.mktemp("finished"), instance, CHANGES)
        keys = partition_keys(world.campaign)
        world.result = world.run("everything", keys=(keys[0], keys[-1]))
        yield world


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run ``geo-assets`` with arguments in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.delenv(CAMPAIGN_VARIABLE, raising=False)

    def run(*arguments):
        # A traceback must fail the test, not hide in the result.
        return CliRunner(catch_exceptions=False).invoke(main, [str(each) for each in arguments])

    return run
