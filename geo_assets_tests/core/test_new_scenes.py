from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from geo_assets.core.new_scenes import (
    SceneState,
    digest_of,
    partitions_with_new_scenes,
)
from geo_assets.core.run_requests import RequestPolicy

NOW = dt.datetime(2026, 11, 21, 6, tzinfo=dt.UTC)
POLICY = RequestPolicy(max_attempts=3)
A, B = frozenset({(0, "a")}), frozenset({(0, "a"), (1, "b")})


def state(new=frozenset(), *, in_flight=False, last_run="unknown"):
    return SceneState(frozenset(new), in_flight, last_run)


def decide(now, cursor, **states):
    requests, kept = partitions_with_new_scenes(states, cursor, now, POLICY)
    return [request.key for request in requests], kept


def test_just_the_partitions_that_got_scenes_are_requested():
    keys, cursor = decide(NOW, {}, north=state(A), south=state(), west=state(B))
    assert keys == ["north", "west"]
    assert set(cursor) == {"north", "west"}


def test_a_set_of_scenes_whose_run_ended_well_is_not_requested_again_even_if_still_new():
    """A scene that the run did not take up must not start it day after day."""
    _, cursor = decide(NOW, {}, north=state(A))
    later = NOW + dt.timedelta(days=30)
    keys, cursor = decide(later, cursor, north=state(A, last_run="well"))
    assert keys == []
    assert "north" in cursor
    assert decide(later, cursor, north=state(B, last_run="well"))[0] == ["north"]


def test_what_is_used_drops_from_the_cursor():
    _, cursor = decide(NOW, {}, north=state(A))
    assert decide(NOW, cursor, north=state(last_run="well")) == ([], {})
    assert decide(NOW, cursor, north=state(last_run="unknown")) == ([], {})


def test_a_run_that_failed_is_requested_again_with_a_growing_delay_and_a_bound():
    _, cursor = decide(NOW, {}, north=state(A))
    at, times = NOW, []
    for _ in range(6):
        for minutes in range(0, 24 * 60, 5):
            now = at + dt.timedelta(minutes=minutes)
            keys, cursor = decide(now, cursor, north=state(A, last_run="badly"))
            if keys:
                times.append((now - NOW).total_seconds() / 60)
                at = now
                break
    assert times == [5, 20]
    assert cursor["north"]["attempts"] == 3


def test_a_run_that_noted_the_scenes_and_then_failed_is_requested_again():
    """The table of scenes is published before the cube: nothing is new, and yet nothing is done."""
    _, cursor = decide(NOW, {}, north=state(A))
    later = NOW + dt.timedelta(minutes=5)
    keys, cursor = decide(later, cursor, north=state(last_run="badly"))
    assert keys == ["north"]
    assert cursor["north"]["attempts"] == 2


def test_what_a_person_mended_after_the_last_attempt_is_forgotten():
    _, cursor = decide(NOW, {}, north=state(A))
    for days in range(1, 4):
        later = NOW + dt.timedelta(days=days)
        _, cursor = decide(later, cursor, north=state(last_run="badly"))
    assert cursor == {}
    assert decide(later, cursor, north=state(A, last_run="badly"))[0] == ["north"]


def test_a_partition_in_flight_is_left_alone():
    assert decide(NOW, {}, north=state(A, in_flight=True)) == ([], {})
    _, cursor = decide(NOW, {}, north=state(A))
    keys, kept = decide(NOW + dt.timedelta(days=1), cursor, north=state(B, in_flight=True))
    assert (keys, kept) == ([], cursor)


def test_more_scenes_are_a_new_request_from_the_first_attempt():
    _, cursor = decide(NOW, {}, north=state(A))
    keys, cursor = decide(NOW, cursor, north=state(B, last_run="badly"))
    assert keys == ["north"]
    assert cursor["north"]["attempts"] == 1


@given(st.sets(st.tuples(st.integers(0, 9), st.text(max_size=5))), st.randoms())
def test_the_digest_of_scenes_is_that_of_their_set(scenes, random):
    shuffled = sorted(scenes, key=lambda _: random.random())
    assert digest_of(shuffled) == digest_of(frozenset(scenes))


def test_different_scenes_have_different_digests():
    assert len({digest_of(A), digest_of(B), digest_of({(1, "a")})}) == 3


def test_a_run_key_is_never_used_twice():
    """Dagster would not run it, and scenes come back, and cursors are reset."""
    at = [NOW + dt.timedelta(minutes=minutes) for minutes in range(3)]
    keys = []
    for now in at:
        requests, _ = partitions_with_new_scenes({"north|all": state(A)}, {}, now, POLICY)
        keys += [request.run_key for request in requests]
    assert keys == [f"north|all#{digest_of(A)}#1#{now.isoformat()}" for now in at]


def test_scenes_that_could_not_be_read_are_requested_again_though_their_run_ended_well():
    _, cursor = decide(NOW, {}, north=state(A))
    unread = SceneState(frozenset(), in_flight=False, last_run="well", unread=A)
    assert decide(NOW, cursor, north=unread)[0] == []
    keys, cursor = decide(NOW + dt.timedelta(minutes=5), cursor, north=unread)
    assert keys == ["north"]
    assert cursor["north"]["attempts"] == 2
    assert decide(NOW, cursor, north=state(last_run="well")) == ([], {})
    # Other scenes that failed this time are no reason to begin anew, and at once.
    others = SceneState(frozenset(), in_flight=False, last_run="well", unread=B)
    assert decide(NOW + dt.timedelta(minutes=6), cursor, north=others)[0] == []
    keys, cursor = decide(NOW + dt.timedelta(hours=1), cursor, north=others)
    assert keys == ["north"]
    assert cursor["north"]["attempts"] == POLICY.max_attempts
    assert decide(NOW + dt.timedelta(days=9), cursor, north=unread)[0] == []
    # What a run by hand could not read is requested, too.
    assert decide(NOW, {}, north=unread)[0] == ["north"]
