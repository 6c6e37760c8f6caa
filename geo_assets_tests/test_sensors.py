from __future__ import annotations

import json
import subprocess
import sys

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from geo_assets.build import build_defs
from geo_assets.resources import Results
from geo_assets.storage.partition_lock import partition_lock
from geo_assets_tests.campaign_testing import a_campaign
from geo_assets_tests.chip_catalogs import store_of, write_chips
from geo_assets_tests.small_world import World

NORTH, NORTH_TEST, SOUTH = "north|train", "north|test", "south|train"
RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# Dagster queues only runs that it knows where to load from.
ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "here"), "redownload_failed_chips"
)


class Sensor:
    """The sensor over a results folder, with an instance whose runs are made up."""

    def __init__(self, folder, instance, changes=None):
        self.instance = instance
        campaign = a_campaign(folder, changes)
        results = Results(data=str(folder / "data"))
        self.layout = results.layout(campaign.name)
        self.defs = build_defs(campaign, resources={"results": results})
        self.cursor = None

    def tick(self):
        result, self.cursor = tick(self.defs, self.instance, self.cursor)
        return result

    def requested(self):
        return [request.partition_key for request in self.tick().run_requests or []]


def tick(defs, instance, cursor=None):
    """Evaluate the sensor once, as the daemon does."""
    repository = defs.get_repository_def()
    with dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        repository_def=repository,
        resources={"results": defs.resources["results"]},
    ) as context:
        result = repository.get_sensor_def("failed_chips_sensor").evaluate_tick(context)
    return result, result.cursor


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def sensor(tmp_path, instance):
    return Sensor(tmp_path, instance)


def test_before_the_first_run_nothing_is_requested(sensor):
    result = sensor.tick()
    assert not result.run_requests
    assert result.skip_message == (
        "nothing to ask again now: 0 failed chips wait for their time or have had their attempts, "
        "0 wait for a person; 0 partitions are being worked on"
    )


def test_just_the_partitions_that_asking_again_can_help_are_requested(sensor):
    write_chips(sensor.layout, NORTH, ok=2, failed=["transient"])
    write_chips(sensor.layout, NORTH_TEST, ok=1)
    write_chips(sensor.layout, SOUTH, failed=["invalid_payload", "permanent"])
    write_chips(sensor.layout, "south|test", ok=1, failed=["permanent"])
    assert sensor.requested() == [NORTH, SOUTH]


def test_a_request_says_what_it_is_for(sensor):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    (request,) = sensor.tick().run_requests
    assert request.partition_key == NORTH
    assert request.tags["geo_assets/attempt"] == "1"
    assert request.tags["dagster/partition/fold"] == "north"
    assert request.tags["dagster/partition/split"] == "train"
    assert request.run_key.startswith(f"{NORTH}#1#")
    job = sensor.defs.get_repository_def().get_sensor_def("failed_chips_sensor").job_name
    assert sensor.defs.resolve_job_def(job).partitions_def.has_partition_key(NORTH)


def test_the_cursor_is_readable_json_and_a_second_tick_waits(sensor):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    assert sensor.requested() == [NORTH]
    assert json.loads(sensor.cursor)[NORTH]["attempts"] == 1
    second = sensor.tick()
    assert not second.run_requests
    assert "1 failed chips wait for their time" in second.skip_message
    assert json.loads(sensor.cursor)[NORTH]["attempts"] == 1


def test_a_partition_that_recovers_drops_from_the_cursor(sensor):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    sensor.tick()
    write_chips(sensor.layout, NORTH, ok=1)
    assert sensor.requested() == []
    assert json.loads(sensor.cursor) == {}


def test_what_waits_for_a_person_is_never_requested(sensor):
    write_chips(sensor.layout, NORTH, failed=["permanent", "permanent"])
    result = sensor.tick()
    assert not result.run_requests
    assert "2 wait for a person" in result.skip_message


def test_a_run_that_died_is_taken_up(sensor):
    write_chips(sensor.layout, NORTH, ok=1)
    journals = store_of(sensor.layout, NORTH).paths.journals
    (journals / "dead.jsonl").write_text("")
    assert sensor.requested() == [NORTH]


def test_a_living_run_is_left_alone(sensor):
    """A kill -9 leaves no lock; a process that holds it is alive, whatever Dagster knows."""
    write_chips(sensor.layout, NORTH, failed=["transient"])
    with partition_lock(store_of(sensor.layout, NORTH).paths.lock, run_id="by-hand"):
        result = sensor.tick()
    assert not result.run_requests
    assert "1 partitions are being worked on" in result.skip_message
    assert sensor.requested() == [NORTH]


def test_one_broken_catalog_does_not_keep_the_others_from_healing(sensor):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    write_chips(sensor.layout, SOUTH, failed=["transient"])
    sensor.layout.chip_catalog("north", "train").write_bytes(b"PAR1 and then nothing")
    assert sensor.requested() == [SOUTH]


def test_a_catalog_that_cannot_be_read_for_a_moment_has_had_its_attempts(sensor):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    assert sensor.requested() == [NORTH]
    catalog = sensor.layout.chip_catalog("north", "train")
    whole, cursor = catalog.read_bytes(), sensor.cursor
    catalog.write_bytes(b"PAR1 and then nothing")
    assert sensor.requested() == []
    assert sensor.cursor == cursor
    catalog.write_bytes(whole)
    assert sensor.requested() == []


def test_chips_of_clusters_that_are_not_chosen_are_nobodys_to_heal(tmp_path, instance):
    sensor = Sensor(tmp_path, instance, {"clusters.count": 2, "clusters.only": [1]})
    write_chips(sensor.layout, NORTH, failed=["transient"])
    write_chips(sensor.layout, SOUTH, failed=["transient"], cluster=1)
    assert sensor.requested() == [SOUTH]


@pytest.mark.parametrize("status", RUNNING, ids=lambda status: status.value)
def test_a_partition_whose_run_is_not_finished_is_not_requested(sensor, instance, status):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    write_chips(sensor.layout, SOUTH, failed=["transient"])
    instance.create_run_for_job(
        sensor.defs.resolve_job_def("redownload_failed_chips"),
        status=status,
        tags={"dagster/partition": NORTH, "geo_assets/campaign": "tiny"},
        remote_job_origin=ORIGIN,
    )
    assert sensor.requested() == [SOUTH]


@pytest.mark.parametrize(
    "status",
    [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
)
def test_a_finished_run_is_no_reason_to_wait(sensor, instance, status):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    instance.create_run_for_job(
        sensor.defs.resolve_job_def("everything"),
        status=status,
        tags={"dagster/partition": NORTH, "geo_assets/campaign": "tiny"},
    )
    assert sensor.requested() == [NORTH]


def test_a_range_run_keeps_its_own_partitions_waiting(sensor, instance):
    for key in (NORTH, NORTH_TEST, SOUTH):
        write_chips(sensor.layout, key, failed=["transient"])
    instance.create_run_for_job(
        sensor.defs.resolve_job_def("everything"),
        status=dg.DagsterRunStatus.STARTED,
        tags={
            "dagster/asset_partition_range_start": NORTH,
            "dagster/asset_partition_range_end": NORTH_TEST,
            "geo_assets/campaign": "tiny",
        },
    )
    assert sensor.requested() == [SOUTH]


def test_a_range_of_folds_that_are_gone_keeps_nothing_waiting(sensor, instance, tmp_path):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    before = build_defs(a_campaign(tmp_path, {"folds": ["east", "west"]}))
    instance.create_run_for_job(
        before.resolve_job_def("everything"),
        status=dg.DagsterRunStatus.STARTED,
        tags={
            "dagster/asset_partition_range_start": "east|train",
            "dagster/asset_partition_range_end": "west|train",
            "geo_assets/campaign": "tiny",
        },
    )
    assert sensor.requested() == [NORTH]


def _run_of_the_command_line(defs, instance, assets, key):
    """A run as ``dagster asset materialize`` records it: of the implicit job, without our tags."""
    instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset(assets),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": key},
    )


HOLD = """
import sys
from pathlib import Path
from geo_assets.storage.partition_lock import partition_lock
with partition_lock(Path(sys.argv[1]), run_id=sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_was_killed_is_not_waited_for(sensor, instance):
    """Dagster shows a run that was killed as started, for a day with our settings."""
    write_chips(sensor.layout, NORTH, failed=["transient"])
    run = instance.create_run_for_job(
        sensor.defs.resolve_job_def("everything"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": NORTH, "geo_assets/campaign": "tiny"},
    )
    slots = instance.event_log_storage
    slots.set_concurrency_slots("earth_engine", 1)
    assert slots.claim_concurrency_slot("earth_engine", run.run_id, "step").is_claimed
    lock = sensor.layout.lock("chip_catalog", "north", "train")
    command = [sys.executable, "-c", HOLD, str(lock), run.run_id]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert sensor.requested() == []
        process.kill()
    # Dagster's own retry of a run that crashed comes first; what it does not retry, we request.
    assert sensor.requested() == []
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
    assert slots.claim_concurrency_slot("earth_engine", "the next", "step").is_claimed
    assert sensor.requested() == [NORTH]


def test_a_run_of_the_command_line_counts(sensor, instance):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    key = dg.AssetKey(["tiny", "chip_catalog"])
    _run_of_the_command_line(sensor.defs, instance, [key], NORTH)
    assert sensor.requested() == []


def test_a_run_of_another_campaign_does_not_count(sensor, instance, tmp_path):
    write_chips(sensor.layout, NORTH, failed=["transient"])
    other = build_defs(a_campaign(tmp_path, {"name": "other"}))
    key = dg.AssetKey(["other", "chip_catalog"])
    _run_of_the_command_line(other, instance, [key], NORTH)
    instance.create_run_for_job(
        other.resolve_job_def("everything"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": NORTH, "geo_assets/campaign": "other"},
    )
    assert sensor.requested() == [NORTH]


def test_chips_heal_through_sensor_and_run(tmp_path, instance):
    """A night: the archive goes away, the sensor asks for what failed, the archive is back."""
    world = World(tmp_path, instance)
    world.run("areas_and_chips", NORTH)
    sound = {path: path.stat().st_mtime_ns for path in world.layout.folder.glob("chips/*/*/*")}
    world.switch.write_text("transient")
    world.run("areas_and_chips", SOUTH)
    assert not world.layout.chips_folder("south", "train").exists()

    first, cursor = tick(world.defs, instance)
    assert [request.partition_key for request in first.run_requests] == [SOUTH]

    world.switch.unlink()
    for request in first.run_requests:
        job = "redownload_failed_chips"
        assert world.run(job, request.partition_key, tags=dict(request.tags)).success
    second, cursor = tick(world.defs, instance, cursor)
    assert not second.run_requests
    assert json.loads(cursor) == {}
    assert "0 failed chips" in second.skip_message
    assert len(list(world.layout.chips_folder("south", "train").iterdir())) == 2
    assert {path: path.stat().st_mtime_ns for path in sound} == sound
