"""The breaker opens, has one probe at a time, and closes; by a clock that the test moves."""

from __future__ import annotations

import threading

import pytest

from geo_assets.sources.earth_engine import breaker as breaker_module
from geo_assets.sources.earth_engine.breaker import Breaker
from geo_assets.sources.earth_engine.faults import OutageFault
from geo_assets_tests.sources.earth_engine.interrupts import interrupted_at_each_line


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def broken(clock, failures=3, rest_s=10, patience_s=120):
    breaker = Breaker(failures=failures, rest_s=rest_s, patience_s=patience_s, clock=clock)
    for _ in range(failures):
        assert breaker.state == "closed"
        with breaker.entered() as ticket:
            breaker.fails(ticket)
    assert breaker.state == "open"
    return breaker


def test_a_success_between_failures_keeps_it_closed():
    breaker = Breaker(failures=2, rest_s=1, patience_s=9, clock=Clock())
    for _ in range(5):
        with breaker.entered() as ticket:
            breaker.fails(ticket)
        with breaker.entered():
            breaker.lives()
    assert breaker.state == "closed"


def test_after_the_rest_one_request_probes_and_its_success_closes():
    clock = Clock()
    breaker = broken(clock)
    clock.now = 10
    with breaker.entered() as probe:
        assert breaker.state == "half-open"
        assert breaker.holds(probe)
        breaker.lives()
    assert breaker.state == "closed"


def test_a_probe_that_fails_begins_the_rest_anew():
    clock = Clock()
    breaker = broken(clock, patience_s=15)
    clock.now = 10
    with breaker.entered() as probe:
        breaker.fails(probe)
    assert breaker.state == "open"
    clock.now = 19.9
    with pytest.raises(OutageFault, match="failed for 20 s"), breaker.entered():
        pass
    clock.now = 20  # beyond the patience: a probe still goes
    with breaker.entered():
        breaker.lives()
    assert breaker.state == "closed"


def test_an_outage_beyond_the_patience_fails_calls_at_once_while_another_probes():
    clock = Clock()
    breaker = broken(clock, patience_s=5)
    clock.now = 10
    with breaker.entered(), pytest.raises(OutageFault), breaker.entered():
        pass


def test_a_probe_that_learns_nothing_leaves_the_probe_to_another():
    clock = Clock()
    breaker = broken(clock)
    clock.now = 10
    with pytest.raises(KeyboardInterrupt), breaker.entered():
        raise KeyboardInterrupt
    with breaker.entered() as probe:
        assert breaker.holds(probe)
        assert breaker.state == "half-open"


def test_an_interrupt_at_any_line_leaves_no_probe_out():
    def fresh():
        clock = Clock()
        breaker = broken(clock)
        clock.now = 10
        return breaker

    def probe(breaker):
        with breaker.entered():
            pass

    interrupted = 0
    for breaker in interrupted_at_each_line(probe, breaker_module, {"entered"}, fresh=fresh):
        interrupted += 1
        assert breaker.state == "open"
    assert interrupted >= 5


def test_a_ticket_from_before_the_opening_no_longer_holds_and_counts_no_more():
    clock = Clock()
    breaker = Breaker(failures=1, rest_s=10, patience_s=120, clock=clock)
    with breaker.entered() as early:
        with breaker.entered() as ticket:
            breaker.fails(ticket)
        assert not breaker.holds(early)
        breaker.lives()
        breaker.fails(early)  # sent before: says nothing of now
    assert breaker.state == "closed"


def test_those_who_wait_go_on_when_the_service_lives():
    clock = Clock()
    breaker = broken(clock)
    clock.now = 10
    passed = []

    def wait():
        with breaker.entered() as ticket:
            passed.append(breaker.holds(ticket))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    with breaker.entered():
        for thread in threads:
            thread.start()
        assert passed == []
        breaker.lives()
    for thread in threads:
        thread.join(20)
    assert passed == [True] * 4
