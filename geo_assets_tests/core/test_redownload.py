"""The sensor's decision: which partitions to run again, and when to stop."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

from hypothesis import given
from hypothesis import strategies as st

from geo_assets.core.redownload import PartitionState, partitions_to_request
from geo_assets.core.run_requests import RequestPolicy

NOW = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
POLICY = RequestPolicy(first_delay=10 * MINUTE, growth=2.0, max_attempts=3)
WELL = PartitionState(0, 0, "2025-01-01", dead_run=False, in_flight=False)
FAILED = dataclasses.replace(WELL, retryable_failed=3)


class Sensor:
    """Ticks with a cursor, as the shell around the decision does."""

    def __init__(self, policy=POLICY):
        self.policy, self.cursor = policy, {}

    def tick(self, minutes=0, **states):
        requests, cursor = partitions_to_request(
            states, self.cursor, NOW + minutes * MINUTE, self.policy
        )
        # Dagster keeps a cursor as text.
        self.cursor = json.loads(json.dumps(cursor))
        return requests


def test_a_partition_with_retryable_failures_is_requested_at_once():
    [request] = Sensor().tick(north=FAILED, south=WELL)
    assert (request.key, request.attempt) == ("north", 1)


def test_requests_come_with_growing_delays_and_then_stop():
    sensor = Sensor()
    requested = [minute for minute in range(200) if sensor.tick(minute, north=FAILED)]
    assert requested == [0, 10, 30]


def test_a_hundred_ticks_within_the_delay_make_one_request():
    sensor = Sensor()
    assert sum(len(sensor.tick(tick / 20, north=FAILED)) for tick in range(100)) == 1


def test_a_partition_that_recovers_stops_being_requested():
    sensor = Sensor()
    sensor.tick(0, north=FAILED)
    assert sensor.tick(60, north=WELL) == []
    assert sensor.cursor == {}


def test_a_new_failure_after_recovery_starts_afresh():
    sensor = Sensor()
    first = [*sensor.tick(0, north=FAILED), *sensor.tick(10, north=FAILED)]
    sensor.tick(60, north=WELL)
    [again] = sensor.tick(61, north=dataclasses.replace(FAILED, content="2025-02-02"))
    assert again.attempt == 1
    assert again.run_key not in {request.run_key for request in first}


def test_attempts_that_are_used_up_come_back_with_a_recovery():
    sensor = Sensor()
    for minute in range(0, 200, 10):
        sensor.tick(minute, north=FAILED)
    sensor.tick(300, north=WELL)
    assert sensor.tick(301, north=FAILED)


def test_permanent_failures_wait_for_a_person():
    assert Sensor().tick(north=dataclasses.replace(WELL, permanent_failed=9)) == []


def test_permanent_failures_beside_retryable_ones_do_not_hold_them_back():
    assert Sensor().tick(north=dataclasses.replace(FAILED, permanent_failed=9))


def test_a_partition_whose_run_died_is_requested():
    never_published = dataclasses.replace(WELL, content="", dead_run=True)
    assert [request.key for request in Sensor().tick(north=never_published)] == ["north"]


def test_nothing_is_requested_while_a_run_is_in_flight():
    sensor = Sensor()
    assert sensor.tick(0, north=dataclasses.replace(FAILED, in_flight=True)) == []
    assert sensor.cursor == {}


def test_a_run_in_flight_does_not_forget_the_attempts_before_it():
    sensor = Sensor()
    sensor.tick(0, north=FAILED)
    sensor.tick(5, north=dataclasses.replace(WELL, in_flight=True))
    assert sensor.tick(9, north=FAILED) == []
    [request] = sensor.tick(10, north=FAILED)
    assert request.attempt == 2


def test_every_partition_has_its_own_patience():
    sensor = Sensor()
    sensor.tick(0, north=FAILED)
    assert [r.key for r in sensor.tick(5, north=FAILED, south=FAILED)] == ["south"]
    assert [r.key for r in sensor.tick(10, north=FAILED, south=FAILED)] == ["north"]


def test_a_partition_that_no_longer_exists_is_forgotten():
    sensor = Sensor()
    sensor.tick(0, north=FAILED)
    sensor.tick(1, south=FAILED)
    assert set(sensor.cursor) == {"south"}


def test_no_attempts_allowed_means_no_requests():
    assert Sensor(RequestPolicy(max_attempts=0)).tick(north=FAILED) == []


STATES = st.sampled_from(
    [
        WELL,
        FAILED,
        dataclasses.replace(WELL, dead_run=True),
        dataclasses.replace(FAILED, in_flight=True),
        dataclasses.replace(WELL, permanent_failed=1),
    ]
)


@given(st.lists(st.tuples(st.integers(0, 30), STATES, STATES), max_size=40))
def test_no_run_key_is_ever_used_twice_and_attempts_stay_bounded(ticks):
    sensor, seen, minute = Sensor(), set(), 0
    for number, (minutes, north, south) in enumerate(ticks):
        minute += minutes
        # Every publication changes the content.
        states = {
            "north": dataclasses.replace(north, content=str(number)),
            "south": dataclasses.replace(south, content=str(number)),
        }
        for request in sensor.tick(minute, **states):
            assert request.run_key not in seen
            assert request.attempt <= POLICY.max_attempts
            seen.add(request.run_key)
            state = states[request.key]
            assert state.retryable_failed or state.dead_run
            assert not state.in_flight
