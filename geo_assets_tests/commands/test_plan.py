from __future__ import annotations

import rasterio
import xarray

from geo_assets.commands.plan import plan_campaign
from geo_assets.commands.status import campaign_status
from geo_assets.resources import Results


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
