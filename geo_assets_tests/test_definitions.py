from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import geo_assets.definitions
from geo_assets.campaign_file import packaged_campaigns
from geo_assets_tests.campaign_testing import write_campaign
from geo_assets_tests.conftest import REPOSITORY

HEAVY = {"xarray", "sklearn", "rasterio", "geopandas", "ee", "torch"}
"""What DESIGN.md names: each costs seconds in every process of Dagster."""
ALSO_HEAVY = {
    "zarr",
    "rioxarray",
    "pandas",
    "numpy",
    "matplotlib",
    "scipy",
    "shapely",
    "pyarrow",
    "pystac_client",
    "odc",
    "PIL",
    "dask",
    "distributed",
}

FRESH = """
import json, sys
import geo_assets.definitions
geo_assets.definitions.defs.get_repository_def()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

FIRST_KEY = """
from geo_assets.definitions import defs
keys = defs.resolve_asset_graph().get_all_asset_keys()
print(min(key.to_user_string() for key in keys))
"""


def test_importing_the_definitions_loads_no_heavy_library():
    """Definitions load in every process of Dagster; with these libraries, in 9 seconds not 2."""
    environment = os.environ | {"GEO_ASSETS_CAMPAIGN": "demo"}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, env=environment, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "dagster" in loaded
    assert not loaded & HEAVY
    assert not loaded & ALSO_HEAVY


@pytest.mark.parametrize("name", packaged_campaigns())
def test_each_packaged_campaign_is_an_attribute(name):
    keys = getattr(geo_assets.definitions, name).resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys} == {name}


def test_another_attribute_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = geo_assets.definitions.nowhere


def test_the_front_door_opens_the_campaign_of_the_environment(tmp_path):
    """And a campaign that does not validate says so in its last line."""
    command = [sys.executable, "-c", FIRST_KEY]
    path = write_campaign(tmp_path)
    environment = os.environ | {"GEO_ASSETS_CAMPAIGN": str(path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "tiny/aoi_clusters"

    write_campaign(tmp_path, {"chips.size": 1})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "geo_assets.errors.CampaignError: tiny.yaml: chips.size: must be greater than or equal to "
        "8 (got 1)"
    )


@pytest.fixture(scope="module")
def dagster(tmp_path_factory):
    """Run one of Dagster's own commands on the demo, with the repository's own settings."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_bytes((REPOSITORY / "dagster.yaml").read_bytes())
    environment = os.environ | {
        "DAGSTER_HOME": str(home),
        "GEO_ASSETS_CAMPAIGN": "demo",
        "GEO_ASSETS_DATA": str(home / "data"),
    }

    def run(*arguments):
        return subprocess.run(
            [str(Path(sys.executable).with_name("dagster")), *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_settings_of_the_instance_load(dagster):
    """Telemetry is off, and the daemon ends what was killed."""
    done = dagster("instance", "info")
    assert done.returncode == 0, done.stderr
    settings = done.stdout
    assert "telemetry:\n  enabled: false" in settings
    assert "max_concurrent_runs: 2" in settings


def test_the_workspace_loads(dagster):
    done = dagster("definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 0, done.stderr
    assert "All code locations passed validation" in done.stderr + done.stdout


@pytest.mark.parametrize("key", ["north|nowhere", "train|north"])
def test_an_unknown_partition_ends_with_one_readable_line(dagster, key):
    done = dagster(
        *("asset", "materialize", "-m", "geo_assets.definitions"),
        *("--select", "demo/chip_catalog", "--partition", key),
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert key in last
    assert "partition" in last.lower()
    assert len(last) < 400
