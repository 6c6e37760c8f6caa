"""The gate lets the limit pass, and the limit follows refusals and successes."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.sources.earth_engine import adaptive
from geo_assets.sources.earth_engine.adaptive import AdaptiveLimit
from geo_assets_tests.sources.earth_engine.interrupts import interrupted_at_each_line


def test_a_refusal_halves_the_limit_and_a_full_round_of_successes_raises_it_by_one():
    limit = AdaptiveLimit(8)
    with limit.held() as passage:
        limit.throttled(passage)
    assert limit.current == 4
    for _ in range(4):
        limit.succeeded()
    assert limit.current == 5


def test_refusals_of_requests_that_were_on_their_way_halve_it_once():
    limit = AdaptiveLimit(16)
    with limit.held() as one, limit.held() as two, limit.held() as three:
        for passage in (one, two, three):
            limit.throttled(passage)
    assert limit.current == 8
    with limit.held() as later:
        limit.throttled(later)
    assert limit.current == 4


@given(maximum=st.integers(1, 40), events=st.lists(st.sampled_from("sstf"), max_size=300))
def test_the_limit_stays_between_one_and_its_maximum(maximum, events):
    limit = AdaptiveLimit(maximum)
    for event in events:
        before = limit.current
        with limit.held() as passage:
            if event == "t":
                limit.throttled(passage)
                assert limit.current == max(before // 2, 1)
            elif event == "s":
                limit.succeeded()
                assert limit.current in {before, before + 1}
        assert 1 <= limit.current <= maximum
    assert limit.in_flight == 0


def test_no_more_pass_at_once_than_the_limit():
    limit = AdaptiveLimit(3)
    lock = threading.Lock()
    inside = most = 0
    together = threading.Barrier(3)

    def work():
        nonlocal inside, most
        with limit.held():
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait(10)  # three must be inside at once, or none gets on
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 3
    assert not any(thread.is_alive() for thread in threads)


def test_an_error_or_an_interrupt_at_any_line_gives_the_place_back():
    limit = AdaptiveLimit(1)
    with pytest.raises(ValueError, match="x"), limit.held():
        raise ValueError("x")
    assert limit.in_flight == 0

    def pass_through(gate):
        with gate.held():
            pass

    interrupted = 0
    for gate in interrupted_at_each_line(
        pass_through, adaptive, {"held", "<lambda>"}, fresh=lambda: AdaptiveLimit(1)
    ):
        interrupted += 1
        assert gate.in_flight == 0
    assert interrupted >= 4
