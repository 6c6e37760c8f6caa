from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from geo_assets.build import build_defs
from geo_assets.campaign_file import load_campaign
from geo_assets.partitions import partition_keys, tags_of_everything
from geo_assets_tests.campaign_testing import a_campaign

MONDAY = dt.datetime(2026, 11, 23, 3, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def campaign():
    return load_campaign("demo")


@pytest.fixture(scope="module")
def defs(campaign):
    return build_defs(campaign)


def _tick(defs, name, at=MONDAY):
    repository = defs.get_repository_def()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=repository
        ) as context,
    ):
        return repository.get_schedule_def(name).evaluate_tick(context).run_requests


def test_the_weekly_schedule_requests_every_partition_once(campaign, defs):
    requests = _tick(defs, "weekly")
    assert [request.partition_key for request in requests] == partition_keys(campaign)
    assert len({request.run_key for request in requests}) == len(requests)


def test_where_partitions_borrow_a_model_the_week_is_one_run_that_begins_with_the_lender(tmp_path):
    lender = {"fold": "south", "split": "train"}
    borrowing = a_campaign(tmp_path, {"cube": {}, "temporal_labels": {"model_from": lender}})
    defs = build_defs(borrowing)
    (request,) = _tick(defs, "weekly")
    assert request.partition_key is None
    assert request.tags.items() >= tags_of_everything(borrowing).items()
    (later,) = _tick(defs, "weekly", MONDAY + dt.timedelta(days=7))
    assert later.run_key != request.run_key


def test_models_of_labels_that_are_not_made_change_no_week(tmp_path):
    lender = {"fold": "south", "split": "train"}
    without_cube = a_campaign(tmp_path, {"temporal_labels": {"model_from": lender}})
    requests = _tick(build_defs(without_cube), "weekly")
    assert [request.partition_key for request in requests] == partition_keys(without_cube)


def test_a_tick_that_is_evaluated_twice_requests_nothing_twice(defs):
    first = [request.run_key for request in _tick(defs, "weekly")]
    assert [request.run_key for request in _tick(defs, "weekly")] == first
    later = _tick(defs, "weekly", MONDAY + dt.timedelta(days=7))
    assert not {request.run_key for request in later} & set(first)


def test_the_runs_of_the_weekly_schedule_are_of_its_job_and_partition(campaign, defs):
    job = defs.resolve_job_def("everything")
    assert job.tags["geo_assets/campaign"] == campaign.name
    for request in _tick(defs, "weekly"):
        assert job.partitions_def.has_partition_key(request.partition_key)
        fold, split = request.partition_key.split("|")
        assert request.tags["dagster/partition/fold"] == fold
        assert request.tags["dagster/partition/split"] == split


def test_what_is_left_failed_is_looked_at_once_for_all_partitions(defs):
    (request,) = _tick(defs, "failed_left_over")
    assert request.partition_key is None
    schedule = defs.get_repository_def().get_schedule_def("failed_left_over")
    assert schedule.job_name == "check_what_is_left_failed"


def test_schedules_wait_to_be_switched_on(defs):
    for schedule in defs.get_repository_def().schedule_defs:
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_new_scenes_are_looked_for_once_for_all_partitions(defs):
    (request,) = _tick(defs, "daily_look_for_scenes")
    assert request.partition_key is None
    schedule = defs.get_repository_def().get_schedule_def("daily_look_for_scenes")
    assert schedule.job_name == "look_for_scenes"


def test_without_cubes_nothing_looks_for_scenes():
    repository = build_defs(load_campaign("cashew")).get_repository_def()
    names = {each.name for each in (*repository.schedule_defs, *repository.sensor_defs)}
    assert names == {"weekly", "failed_left_over", "failed_chips_sensor"}
    assert not repository.has_job("look_for_scenes")
