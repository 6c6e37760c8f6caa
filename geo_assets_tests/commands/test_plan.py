from __future__ import annotations

import pytest
import rasterio
import xarray

from geo_assets.commands.plan import plan_campaign
from geo_assets.commands.status import campaign_status
from geo_assets.resources import ImagerySource, Results
from geo_assets.sources.opening import open_source
from geo_assets_tests.campaign_testing import a_campaign
from geo_assets_tests.small_world import CHANGES


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
    ("changes", "a_chip"),
    [
        ({}, 1),
        ({"imagery.confirm": "twice"}, 2),
        ({"chips.format": "png"}, 2),
        ({"chips.format": "jpg", "imagery.confirm": "twice"}, 4),
    ],
    ids=["pixels", "confirmed", "pictures", "confirmed pictures"],
)
def test_reads_of_a_server_are_requests(finished, tmp_path, monkeypatch, changes, a_chip):
    """One for each chip and each preview. The raster stands for a server: no pixel is asked."""
    folder = finished.campaign.areas.file.parent
    (tmp_path / "areas.geojson").write_bytes((folder / "areas.geojson").read_bytes())
    raster = open_source(finished.campaign, finished.layout)
    monkeypatch.setattr(ImagerySource, "open", lambda *_: raster)
    server = {"imagery": {"kind": "earth-engine", "collection": "x"}}
    campaign = a_campaign(tmp_path, CHANGES | {"splits": ["train", "test"]} | server | changes)
    layout = Results(data=str(tmp_path / "data")).layout("tiny")
    planned = plan_campaign(campaign, layout)
    others = plan_campaign(finished.campaign, layout)
    for plan, other in zip(planned, others, strict=True):
        assert (plan.scenes, plan.chips) == (other.scenes, other.chips)
        assert plan.reads == plan.chips * a_chip + (plan.clusters > 0)
        assert plan.megabytes == plan.chips * 16 * 16 * 3 * 4 / 1024**2
    assert sum(plan.reads for plan in planned) > 0


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


def test_areas_that_cannot_be_used_are_one_readable_line(finished, command, tmp_path):
    text = finished.campaign.areas.file.with_name("tiny.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(text)
    done = command("plan", "-c", tmp_path / "tiny.yaml")
    assert done.exit_code == 1
    assert done.stderr == f"Error: {tmp_path / 'areas.geojson'}: no such file\n"
