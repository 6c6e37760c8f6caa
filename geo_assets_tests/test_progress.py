from __future__ import annotations

import logging

import pytest

from geo_assets.progress import SECONDS_BETWEEN_LINES, logged


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def _told(clock, what="chips north|train:"):
    return logged(logging.getLogger("progress"), what, clock=clock)


def test_a_line_ends_with_what_else_is_worth_knowing(clock, lines):
    log = logging.getLogger("progress")
    tell = logged(log, "chips:", clock=clock, detail=lambda: "3 retries")
    clock.now += 20
    tell(50, 200)
    assert lines() == ["chips: 50 of 200, 2.5 per second, 60 s left, 3 retries"]


def test_a_line_tells_count_rate_and_remaining_time(clock, lines):
    tell = _told(clock)
    clock.now += 20
    tell(50, 200)
    assert lines() == ["chips north|train: 50 of 200, 2.5 per second, 60 s left"]


def test_a_line_comes_now_and_then_however_often_work_is_told(clock, lines):
    tell = _told(clock)
    for done in range(1, 101):
        clock.now += 1
        tell(done, 100)
    assert len(lines()) == 100 // SECONDS_BETWEEN_LINES
    assert lines()[0] == "chips north|train: 10 of 100, 1.0 per second, 90 s left"


def test_short_work_logs_nothing(clock, lines):
    tell = _told(clock)
    for done in range(1, 1001):
        clock.now += 0.009
        tell(done, 1000)
    assert lines() == []


def test_nothing_done_yet_says_nothing(clock, lines):
    tell = _told(clock)
    clock.now += 60
    tell(0, 10)
    assert lines() == []


def test_work_whose_extent_was_unknown_does_not_count_below_zero(clock, lines):
    tell = _told(clock)
    clock.now += 10
    tell(12, 10)
    assert lines() == ["chips north|train: 12 of 10, 1.2 per second, 0 s left"]


def test_slow_work_shows_a_rate_that_is_not_zero(clock, lines):
    tell = _told(clock, "cube:")
    clock.now += 100
    tell(1, 3)
    assert lines() == ["cube: 1 of 3, 0.01 per second, 200 s left"]
