"""The main job as a user meets it: the demo, and single partitions from the command line.

The list of issue 2 continues in the modules beside this one: ``test_real_imagery``,
``test_catalog_readers``, ``test_convergence``, ``test_kills``, ``test_repeatability``,
``test_simulated_truth`` and ``test_bad_inputs``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from geo_assets.campaign_file import load_campaign
from geo_assets_tests.acceptance.support import Workplace, last_line, rows_of

if TYPE_CHECKING:
    import subprocess

UPSTREAM = ("labels", "aoi_clusters", "scenes", "composite_image", "chip_grid")
REPAIRED = "S2A_33UTQ_20210718_0_L2A"
LOST = "S2A_32UQV_20210616_0_L2A"


@pytest.fixture(scope="module")
def campaign():
    return load_campaign("demo")


def tables(output: str) -> list[dict[tuple[str, str], list[str]]]:
    """The rows of each table of the demo's output, by fold and split."""
    found: list[dict[tuple[str, str], list[str]]] = []
    for line in output.splitlines():
        if re.match(r"\s*fold\s+split\s", line):
            found.append({})
        cells = re.split(r"\s{2,}", line.strip())
        if found and cells[0] in {"north", "south", "all"}:
            split = cells[1] if cells[0] != "all" else ""
            found[-1][cells[0], split] = cells[2 if split else 1 :]
    return found


def test_the_demo_ends_well_and_says_where_to_look(demo):
    assert demo.process.returncode == 0, demo.process.stderr
    assert str(demo.place.data / "demo") in demo.process.stdout
    assert "make dev" in demo.process.stdout


def test_the_demo_shows_a_row_for_every_fold_and_split(demo, campaign):
    first, second = tables(demo.process.stdout)
    keys = {(fold, split) for fold in campaign.folds for split in campaign.splits} | {("all", "")}
    assert set(first) == set(second) == keys
    for fold, split in keys - {("all", "")}:
        clusters, scenes, ok, _no_imagery, _failed, dates, rasters = first[fold, split]
        assert clusters == "2"
        assert int(scenes) >= 24
        assert int(ok) > 0
        assert int(dates) >= 24
        # A raster for each date and cluster, and one for all dates.
        assert int(rasters) >= 2 * 24


def test_the_demo_has_about_200_chips(demo, campaign):
    chips = sum(map(len, rows_of(demo.place, campaign).values()))
    assert 150 <= chips <= 250


def test_the_second_run_heals_the_chips_of_the_repaired_file(demo, campaign):
    first, second = tables(demo.process.stdout)
    ok_before, _, failed_before = first["all", ""]
    ok, _, failed = (cell.split(" → ") for cell in second["all", ""])
    assert ok[0] == ok_before
    assert failed[0] == failed_before
    healed = int(failed[0]) - int(failed[1])
    assert healed > 0
    assert int(ok[1]) - int(ok[0]) == healed
    assert f"repaired items/{REPAIRED}/B04.tif" in demo.process.stdout
    rows = rows_of(demo.place, campaign)
    asked_again = [row for rows in rows.values() for row in rows if row.outcome.attempts == 2]
    assert all(
        row.outcome.status == "ok" or row.outcome.error_kind == "permanent" for row in asked_again
    )


def test_the_last_table_says_what_the_catalogs_say(demo, campaign):
    _, second = tables(demo.process.stdout)
    for key, rows in rows_of(demo.place, campaign).items():
        counts = Counter(row.outcome.status for row in rows)
        fold, split = key.split("|")
        shown = [cell.split(" → ")[-1] for cell in second[fold, split][2:5]]
        assert shown == [str(counts[status]) for status in ("ok", "no_imagery", "failed")]


def test_what_stays_damaged_is_reported_by_the_check(demo, campaign):
    failed = {
        row.spec.chip_id: row
        for rows in rows_of(demo.place, campaign).values()
        for row in rows
        if row.outcome.status == "failed"
    }
    assert failed
    assert {row.outcome.error_kind for row in failed.values()} == {"permanent"}
    assert all(LOST in row.outcome.error for row in failed.values())
    result = latest_check(demo.place, "chip_catalog", "nothing_is_left_failed")
    assert not result["passed"]
    assert result["severity"] == "WARN"
    assert result["metadata"]["count"] == len(failed)
    shown = result["metadata"]["sample"]
    assert {record["chip_id"] for record in shown} <= set(failed)
    assert len(shown) == min(20, len(failed))
    assert "permanent" in result["metadata"]["recovery"]


def latest_check(place: Workplace, asset: str, name: str) -> dict:
    """What the latest evaluation of a check says in the records of a workplace's Dagster home."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(place.home)) as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["demo", asset]), name)
        record = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
        evaluation = record.evaluation
        metadata = {}
        for label, value in evaluation.metadata.items():
            records = getattr(value, "records", None)
            metadata[label] = (
                value.value if records is None else [record.data for record in records]
            )
        return {
            "passed": evaluation.passed,
            "severity": evaluation.severity.value,
            "metadata": metadata,
        }


@pytest.fixture(scope="module")
def from_scratch(archive, tmp_path_factory) -> tuple[Workplace, list[subprocess.CompletedProcess]]:
    """One partition of the demo, materialized as a script would: upstreams, then the catalog."""
    place = Workplace(tmp_path_factory.mktemp("script"))
    place.place_archive(archive)
    selection = ",".join(f"demo/{name}" for name in UPSTREAM)
    processes = [place.materialize(selection, "north|train")]
    processes.append(place.materialize("demo/chip_catalog", "north|train"))
    return place, processes


def test_one_partition_is_materialized_from_the_command_line(from_scratch, campaign):
    place, processes = from_scratch
    assert [process.returncode for process in processes] == [0, 0], processes[-1].stderr
    layout = place.layout(campaign)
    assert layout.chip_catalog("north", "train").is_file()
    assert [path.name for path in layout.chip_catalog("north", "train").parent.iterdir()] == [
        "train.parquet"
    ]


def test_the_command_line_makes_the_chips_that_the_demo_makes(from_scratch, demo, campaign):
    place, _ = from_scratch
    found, expected = (
        {
            path.name: path.read_bytes()
            for path in where.layout(campaign).chips_folder("north", "train").iterdir()
        }
        for where in (place, demo.place)
    )
    assert found
    assert found == expected


def test_an_unknown_partition_is_one_readable_line_and_status_1(demo):
    process = demo.place.materialize("demo/chip_catalog", "north|trian")
    assert process.returncode == 1
    line = last_line(process.stderr)
    assert "north|trian" in line
    assert not line.startswith(" ")
