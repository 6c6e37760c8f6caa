from __future__ import annotations

import datetime as dt

import dagster as dg
import geopandas
import pytest
import rasterio
import xarray

from geo_assets.build import build_defs
from geo_assets.commands.plan import plan_campaign
from geo_assets.commands.status import campaign_status
from geo_assets.resources import Results
from geo_assets_tests.emulators.earth_engine import Assets, ImageFile
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator
from geo_assets_tests.small_world import write_world


def test_a_run_does_what_was_planned(finished, tmp_path):
    plans = plan_campaign(finished.campaign, Results(data=str(tmp_path)).layout("tiny"))
    done = campaign_status(finished.campaign, finished.layout)
    assert [(plan.fold, plan.split) for plan in plans] == [(row.fold, row.split) for row in done]
    assert [(plan.clusters, plan.scenes, plan.chips) for plan in plans] == [
        (row.clusters, row.scenes, row.ok + row.no_imagery + row.failed) for row in done
    ]
    assert sum(plan.chips for plan in plans) > 0


def test_no_more_pixels_are_written_than_were_planned(finished, tmp_path):
    plans = plan_campaign(finished.campaign, Results(data=str(tmp_path)).layout("tiny"))
    written = 0
    for folder in ("chips", "composite_image"):
        for path in (finished.layout.folder / folder).rglob("*.tif"):
            with rasterio.open(path) as raster:
                written += raster.read().nbytes
    for path in finished.layout.folder.glob("ndvi_cube/*/*/*.zarr"):
        with xarray.open_zarr(path, mask_and_scale=False) as cube:
            written += cube["ndvi"].nbytes
    assert 0 < written <= sum(plan.megabytes for plan in plans) * 1024**2


def test_reads_are_bands_of_scenes(finished, tmp_path):
    """One scene of one cluster: two bands for the composite, red and nir for the cube."""
    plans = plan_campaign(finished.campaign, Results(data=str(tmp_path)).layout("tiny"))
    assert [plan.reads for plan in plans] == [4, 4, 4, 0]


@pytest.mark.parametrize(
    "changes",
    [{}, {"chips.format": "png"}, {"chips.format": "jpg", "imagery.confirm": "twice"}],
    ids=["pixels", "pictures", "confirmed pictures"],
)
def test_a_server_is_asked_as_often_as_was_planned(tmp_path, monkeypatch, changes):
    imagery = {"imagery": {"kind": "earth-engine", "collection": "users/me/fields"}, "cube": None}
    one = {"folds": ["north"], "splits": ["train"]}
    write_world(tmp_path)
    assets = Assets()
    noon = dt.datetime(2021, 6, 1, 12, tzinfo=dt.UTC)
    assets.add_collection("users/me/fields", [ImageFile("2021", tmp_path / "image.tif", noon)])
    with (
        EarthEngineEmulator(assets) as emulator,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        monkeypatch.setenv("GEO_ASSETS_EE_URL", emulator.url)
        monkeypatch.setenv("GEO_ASSETS_EE_PROJECT", "test")
        monkeypatch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path / "limits"))
        campaign = write_world(tmp_path, imagery | one | changes)
        results = Results(data=str(tmp_path / "data"))
        (plan,) = plan_campaign(campaign, results.layout("tiny"))
        assert not {"pixels", "thumbnail"} & set(emulator.ledger.calls)
        job = build_defs(campaign, {"results": results}).resolve_job_def("everything")
        job.execute_in_process(instance=instance, partition_key="north|train")
        calls = emulator.ledger.calls
    assert plan.chips > 0
    assert plan.megabytes == plan.chips * 16 * 16 * 3 * 4 / 1024**2
    assert calls["pixels"] + calls["thumbnail"] == plan.reads


def test_planning_publishes_nothing(finished, tmp_path):
    layout = Results(data=str(tmp_path / "data")).layout("tiny")
    plan_campaign(finished.campaign, layout)
    assert list(tmp_path.iterdir()) == []


def test_the_command_shows_a_line_for_each_partition_and_the_sums(finished, command):
    path = finished.campaign.areas.file.with_name("tiny.yaml")
    done = command("plan", "-c", path)
    assert done.exit_code == 0, done.output
    assert "tiny: what a run would do" in done.output
    rows = [line.split() for line in done.output.splitlines() if line.strip()]
    north = next(row for row in rows if "north" in row and "train" in row)
    numbers = [cell for cell in north if cell.replace(".", "").isdigit()]
    assert numbers[:2] == ["1", "1"]
    assert any(row[0] == "all" or "all" in row for row in rows)
    assert "are free there." in done.output


def test_partitions_without_a_scene_are_told_with_the_reasons_once_each(command, tmp_path):
    campaign = write_world(tmp_path, {"folds": ["north"], "splits": ["train"]})
    areas = geopandas.read_file(campaign.areas.file)
    areas.assign(geometry=areas.translate(1)).to_file(campaign.areas.file)
    done = command("plan", "-c", tmp_path / "tiny.yaml")
    assert done.exit_code == 0, done.output
    told = [line for line in done.output.splitlines() if "no scene is used" in line]
    assert len(told) == 1
    assert told[0].startswith("warning north|train: no scene is used: 1 no_overlap (")
    assert done.output.index("what a run would do") < done.output.index(told[0])
    assert done.output.count("no grid.resolution to make a pixel grid without one") == 1


def test_a_plan_with_a_scene_for_every_area_warns_of_nothing(finished, tmp_path):
    plans = plan_campaign(finished.campaign, Results(data=str(tmp_path)).layout("tiny"))
    assert [plan.warnings for plan in plans] == [()] * len(plans)


def test_areas_that_cannot_be_used_are_one_readable_line(finished, command, tmp_path):
    text = finished.campaign.areas.file.with_name("tiny.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(text)
    done = command("plan", "-c", tmp_path / "tiny.yaml")
    assert done.exit_code == 1
    assert done.stderr == f"Error: {tmp_path / 'areas.geojson'}: no such file\n"
