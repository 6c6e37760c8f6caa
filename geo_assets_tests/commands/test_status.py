from __future__ import annotations

import shutil
from dataclasses import astuple, replace

from rich.console import Console

from geo_assets.build import STEPS
from geo_assets.commands.status import campaign_status, print_status
from geo_assets.partitions import partition_keys
from geo_assets.resources import Results
from geo_assets.storage.cubes.opening import published_cubes
from geo_assets_tests.small_world import EMPTY


def _printed(campaign, statuses, before=None):
    console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_status(console, campaign, statuses, before)
    return [line.split() for line in console.export_text().splitlines() if line.strip()]


def test_a_range_run_records_every_partition_the_empty_one_as_empty(finished):
    """A fold and split without polygons is a success with empty tables."""
    assert finished.result.success
    assert all(each.passed for each in finished.result.get_asset_check_evaluations())
    keys = partition_keys(finished.campaign)
    there = finished.defs.resolve_asset_graph().get_all_asset_keys()
    # Its one date cannot be followed, so the world has no label changes.
    assert {step.name for step in STEPS} - {key.path[-1] for key in there} == {"ndvi_label_changes"}
    for step in STEPS:
        key = finished.asset(step.name)
        if key not in there:
            continue
        records = finished.instance.fetch_materializations(key, limit=100).records
        empty = {
            record.partition_key: record.asset_materialization.metadata["empty"].value
            for record in records
        }
        assert len(records) == len(keys)
        assert empty == {key: key == EMPTY for key in keys}, step.name


def test_what_lies_on_disk_is_counted(finished):
    *full, empty = campaign_status(finished.campaign, finished.layout)
    for row in full:
        assert (row.clusters, row.scenes, row.cube_dates) == (1, 1, 1)
        files = list(finished.layout.chips_folder(row.fold, row.split).iterdir())
        assert row.ok == len(files) > 0
        assert (row.no_imagery, row.failed) == (0, 0)
        assert row.label_rasters == 3
    assert astuple(empty) == ("south", "test", 0, 0, 0, 0, 0, None, 0, ())


def test_before_any_run_there_is_nothing(finished, tmp_path):
    layout = Results(data=str(tmp_path)).layout("tiny")
    for row in campaign_status(finished.campaign, layout):
        assert astuple(row)[2:] == (None, None, None, None, None, None, 0, ())
    assert list(tmp_path.iterdir()) == []


def test_a_table_shows_what_is_not_there_as_a_dash_and_adds_up(finished):
    rows = campaign_status(finished.campaign, finished.layout)
    printed = _printed(finished.campaign, rows)
    total = str(sum(row.ok for row in rows))
    assert ["all", total, "0", "0"] in printed
    assert ["south", "test", "0", "0", "0", "0", "0", "-", "0"] in printed


def test_a_table_of_two_moments_shows_what_changed(finished):
    after = campaign_status(finished.campaign, finished.layout)
    before = [replace(after[0], ok=after[0].ok - 1, failed=1), *after[1:]]
    printed = _printed(finished.campaign, after, before)
    ok = after[0].ok
    changed = next(row for row in printed if row[:2] == ["north", "train"])
    assert " ".join(changed) == f"north train 1 1 {ok - 1} → {ok} 0 1 → 0 1 3"
    assert "→" not in " ".join(next(row for row in printed if row[:2] == ["south", "train"]))


def test_the_command_shows_the_table(finished, command, monkeypatch):
    path = finished.campaign.areas.file.with_name("tiny.yaml")
    monkeypatch.setenv("GEO_ASSETS_DATA", str(finished.layout.root))
    done = command("status", "-c", path)
    assert done.exit_code == 0
    assert "tiny: Two folds and two splits of nearly nothing" in done.output
    assert "label rasters" in done.output


def test_what_is_damaged_is_named_beside_all_the_rest(finished, command, monkeypatch, tmp_path):
    whole = campaign_status(finished.campaign, finished.layout)
    shutil.copytree(finished.layout.folder, tmp_path / "tiny")
    layout = Results(data=str(tmp_path)).layout("tiny")
    catalog, scenes = layout.chip_catalog("north", "train"), layout.scenes("north", "test")
    for table in (catalog, scenes):
        table.write_bytes(table.read_bytes()[:100])
    metadata = next(iter(published_cubes(layout, "south", "train").values())) / "zarr.json"
    metadata.write_text("{")
    rows = campaign_status(finished.campaign, layout)
    nothing = {"ok": None, "no_imagery": None, "failed": None}
    assert [replace(row, damaged=()) for row in rows] == [
        replace(whole[0], **nothing),
        replace(whole[1], scenes=None),
        replace(whole[2], cube_dates=None),
        whole[3],
    ]
    monkeypatch.setenv("GEO_ASSETS_DATA", str(tmp_path))
    done = command("status", "-c", finished.campaign.areas.file.with_name("tiny.yaml"))
    assert done.exit_code == 1
    assert "label rasters" in done.output
    for path in (catalog, scenes, metadata.parent):
        assert f"damaged: {path}" in done.output
