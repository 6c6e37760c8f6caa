"""Look job, sensor and run together, over a real STAC API that gets new scenes."""

from __future__ import annotations

import copy
import datetime as dt
import json
import shutil

import dagster as dg
import pytest

from geo_assets.build import build_defs
from geo_assets.core.new_scenes import digest_of
from geo_assets.partitions import tags_of_everything
from geo_assets.resources import Results
from geo_assets.sensors.new_scenes import NEW_SCENES_TAG
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.layout import model_of
from geo_assets.storage.seen_scenes import read_seen_scenes
from geo_assets_tests.emulators.stac_api import free_port
from geo_assets_tests.watched_campaign import FIRST_DAYS, GRIDS, NORTH, SOUTH, Watched, materialized


@pytest.fixture
def watched(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watched(tmp_path, instance, free_port())


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Results of one run of both folds, to be copied."""
    folder = tmp_path_factory.mktemp("first")
    with dg.DagsterInstance.ephemeral() as instance:
        first = Watched(folder, instance, free_port())
        with first.api():
            for key in (NORTH, SOUTH):
                assert first.run("cubes_and_labels", key).success
    return first


@pytest.fixture
def running(first_run, tmp_path):
    """Both folds have been run once."""
    shutil.copytree(first_run.layout.root, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watched(tmp_path, instance, first_run.port)


def test_before_the_first_run_nothing_is_looked_for_and_nothing_requested(watched):
    assert watched.look().success
    result = watched.tick()
    assert not result.run_requests
    assert result.skip_message.startswith("nothing to request now: 0 partitions with new scenes")


def test_only_the_partition_with_a_new_scene_is_run_and_its_cube_gains_just_that_date(running):
    with running.api():
        assert running.look().success
    assert running.requested() == []
    south = running.files("south")

    running.add("north", "2021-06-21")
    running.add("south", "2021-06-21", cloud_cover=90)
    with running.api():
        assert running.look().success
        (request,) = running.tick().run_requests
        assert request.partition_key == NORTH
        digest = digest_of({(0, "north-2021-06-21")})
        assert request.run_key.startswith(f"{NORTH}#{digest}#1#")
        assert running.requested() == []
        assert running.run_requested(request).success
    assert running.days("north") == [*FIRST_DAYS, "2021-06-21"]
    assert running.days("south") == FIRST_DAYS
    assert not running.layout.composite_images("north", "all").exists()
    changed = {path for path, time in running.files("south").items() if south.get(path) != time}
    assert {path.relative_to(running.layout.folder).parts[:2] for path in changed} <= {
        (".state", "seen_scenes")
    }
    assert running.requested() == []
    assert json.loads(running.cursor) == {}


def test_chips_heal_after_new_scenes_were_taken_up(running):
    with running.api():
        assert running.run("areas_and_chips", NORTH).success
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
        (request,) = running.tick().run_requests
        assert running.run_requested(request).success
        assert running.run("redownload_failed_chips", NORTH).success
    rows = read_rows(running.layout.chip_catalog("north", "all"))
    scenes = {f"north-{day}" for day in (*FIRST_DAYS, "2021-06-21")}
    assert {row.outcome.status for row in rows} == {"ok"}
    assert all(set(row.spec.scene_ids) == scenes for row in rows)


def test_all_that_borrow_a_model_are_made_in_one_run_after_the_lender(first_run, tmp_path):
    shutil.copytree(first_run.layout.root, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        lender = {"temporal_labels.model_from": {"fold": "south", "split": "all"}}
        running = Watched(tmp_path, instance, first_run.port, lender)
        running.add("north", "2021-06-21")
        running.add("south", "2021-06-21")
        with running.api():
            running.look()
            (request,) = running.tick().run_requests
            assert request.partition_key is None
            assert request.tags.items() >= tags_of_everything(running.campaign).items()
            assert running.run_requested(request).success
        labels = running.layout.ndvi_temporal_labels
        models = [json.loads(model_of(labels(fold, "all", 0)).read_text()) for fold in GRIDS]
        assert models[0]["centers"] == models[1]["centers"]
        assert {model["fitted_on"] for model in models} == {"south|all cluster-0"}
        assert running.requested() == []
        assert json.loads(running.cursor) == {}

        running.add("north", "2021-07-01")
        with running.api():
            running.look()
        assert running.requested() == [NORTH]


def test_the_lender_waits_until_nobody_works_on_those_that_borrow(first_run, tmp_path):
    shutil.copytree(first_run.layout.root, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        lender = {"temporal_labels.model_from": {"fold": "south", "split": "all"}}
        running = Watched(tmp_path, instance, first_run.port, lender)
        running.add("south", "2021-06-21")
        with running.api():
            running.look()
        instance.create_run_for_job(
            running.defs.resolve_job_def("everything"),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": NORTH, "geo_assets/campaign": "tiny"},
        )
        assert running.requested() == []


def test_a_scene_that_another_run_put_in_the_table_is_new_until_the_cube_has_it(running):
    running.add("north", "2021-06-21")
    with running.api():
        # As areas_and_chips does, or a run whose ndvi_cube failed.
        assert materialized(running, running.defs, "scenes")
        assert running.look().success
        (request,) = running.tick().run_requests
        assert request.partition_key == NORTH
        assert running.run_requested(request).success
        assert running.look().success
    assert running.days("north") == [*FIRST_DAYS, "2021-06-21"]
    assert running.requested() == []
    assert json.loads(running.cursor) == {}


def test_without_a_note_of_the_cube_the_table_says_what_is_used(running):
    for fold in ("north", "south"):
        running.layout.used_scenes(fold, "all").unlink()
    with running.api():
        assert running.look().success
        assert running.requested() == []
        running.add("north", "2021-06-21")
    with running.api():
        assert running.look().success
    assert running.requested() == [NORTH]


def test_a_cube_of_chosen_clusters_notes_the_scenes_of_these_alone(running):
    campaign = running.campaign.model_copy(
        update={"clusters": running.campaign.clusters.model_copy(update={"only": (1,)})}
    )
    defs = build_defs(campaign, resources={"results": Results(data=str(running.layout.root))})
    note = running.layout.used_scenes("north", "all")
    assert len(json.loads(note.read_text())["scenes"]) == 2
    assert materialized(running, defs, "ndvi_cube")
    assert json.loads(note.read_text()) == {"scenes": [], "unread": []}
    assert running.days("north") == FIRST_DAYS


def test_scenes_of_clusters_that_are_no_longer_chosen_ask_for_no_run(running):
    running.add("north", "2021-06-21")
    with running.api():
        assert running.look().success
    chosen = running.campaign.clusters.model_copy(update={"only": (1,)})
    running.defs = build_defs(
        running.campaign.model_copy(update={"clusters": chosen}),
        resources={"results": Results(data=str(running.layout.root))},
    )
    assert running.requested() == []


@pytest.mark.parametrize("damaged", ["scenes", "used_scenes"])
def test_what_is_damaged_of_one_partition_keeps_no_other_from_being_looked_at(running, damaged):
    for fold in ("north", "south"):
        running.add(fold, "2021-06-21")
    running.layout.used_scenes("north", "all").unlink()
    path = getattr(running.layout, damaged)("north", "all")
    path.write_text("{")
    with running.api():
        look = running.look()
    assert not look.success
    problem = read_seen_scenes(running.layout.seen_scenes("north", "all")).problem
    assert problem.startswith(f"{path}: is no ")
    assert running.requested() == [SOUTH]


def test_a_source_that_is_away_is_named_and_nothing_is_lost(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    away = running.look()
    assert not away.success
    # What was seen before the source went away is still requested.
    assert running.requested() == [NORTH]
    skipped = running.tick()
    assert not skipped.run_requests
    assert f"the latest look failed: {running.url}: " in skipped.skip_message

    running.add("south", "2021-06-21")
    with running.api():
        assert running.look().success
    assert running.requested() == [SOUTH]


def test_what_was_seen_is_told_in_the_observations_of_scenes(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    key = dg.AssetKey(["tiny", "scenes"])
    records = running.instance.fetch_observations(key, limit=2).records
    facts = {
        record.partition_key: {
            name: value.value for name, value in record.asset_observation.metadata.items()
        }
        for record in records
    }
    assert facts == {
        NORTH: {"seen": 3, "new": 1, "new_scenes": "north-2021-06-21", "unread": 0},
        SOUTH: {"seen": 2, "new": 0, "new_scenes": "", "unread": 0},
    }


@pytest.mark.parametrize(
    ("status", "again"),
    [(dg.DagsterRunStatus.FAILURE, [NORTH]), (dg.DagsterRunStatus.SUCCESS, [])],
    ids=["failed", "succeeded"],
)
def test_a_run_that_failed_is_requested_again_when_its_time_has_come(running, status, again):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    (request,) = running.tick().run_requests
    running.instance.create_run_for_job(
        running.defs.resolve_job_def("everything"),
        status=status,
        tags=dict(request.tags) | {"geo_assets/campaign": "tiny"},
    )
    assert running.requested() == []
    make_due(running)
    assert running.requested() == again


def cut_short(folder):
    """Cut files as a download that ended early leaves them; return what makes them whole."""
    whole = {file: file.read_bytes() for file in folder.iterdir()}
    for file, content in whole.items():
        file.write_bytes(content[: len(content) * 6 // 10])
    return whole


def make_due(running):
    cursor = json.loads(running.cursor)
    for entry in cursor.values():
        entry["requested"] = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=6)).isoformat()
    running.cursor = json.dumps(cursor)


@pytest.mark.parametrize("second", [False, True], ids=["a new day", "a second scene of a day"])
def test_a_scene_that_could_not_be_read_is_asked_for_until_it_can(running, second):
    running.add("north", "2021-06-21")
    name, days = "north-2021-06-21", [*FIRST_DAYS, "2021-06-21"]
    if second:
        with running.api():
            running.look()
            (request,) = running.tick().run_requests
            assert running.run_requested(request).success
        twin = copy.deepcopy(running.items[-1])
        name = twin["id"] = "A-second"
        scenes = running.folder / "scenes"
        shutil.copytree(scenes / "north-2021-06-21", scenes / name)
        for asset in twin["assets"].values():
            asset["href"] = asset["href"].replace("north-2021-06-21", name)
        running.items.append(twin)
    whole = cut_short(running.folder / "scenes" / name)
    with running.api():
        running.look()
        (request,) = running.tick().run_requests
        result = running.run_requested(request)
        assert result.success
        told = {c.check_name: c.passed for c in result.get_asset_check_evaluations()}
        assert not told["every_date_was_read"]
        assert running.days("north") == (days if second else FIRST_DAYS)
        used = running.layout.used_scenes("north", "all")
        assert json.loads(used.read_text())["unread"] == [[0, name]]
        assert running.requested() == []
        make_due(running)
        for file, content in whole.items():
            file.write_bytes(content)
        (request,) = running.tick().run_requests
        assert request.tags["geo_assets/attempt"] == "2"
        assert running.run_requested(request).success
    assert json.loads(used.read_text())["unread"] == []
    assert running.days("north") == days
    assert running.requested() == []
    assert json.loads(running.cursor) == {}


def test_a_partition_in_flight_is_not_requested(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    running.instance.create_run_for_job(
        running.defs.resolve_job_def("everything"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": NORTH, "geo_assets/campaign": "tiny"},
    )
    result = running.tick()
    assert not result.run_requests
    assert "1 are being worked on" in result.skip_message


def test_a_damaged_note_does_not_keep_the_others_waiting(running):
    for fold in ("north", "south"):
        running.add(fold, "2021-06-21")
    with running.api():
        running.look()
        running.layout.seen_scenes("north", "all").write_text("{")
        assert running.requested() == [SOUTH]
        assert running.look().success
    assert running.requested() == [NORTH]
    seen = read_seen_scenes(running.layout.seen_scenes("north", "all"))
    assert len(seen.scenes) == 3
    assert seen.problem == ""


def test_a_request_carries_the_tag_that_finds_its_run(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    (request,) = running.tick().run_requests
    assert request.tags[NEW_SCENES_TAG] == request.run_key
    assert request.tags["dagster/partition/fold"] == "north"
