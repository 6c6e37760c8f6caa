"""Slots and rate of a machine: with real processes, real forks, and clocks that tests move."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine import machine_limits
from geo_assets.sources.earth_engine.machine_limits import (
    FOLDER_VARIABLE,
    MachineRate,
    MachineSlots,
    limits_folder,
)
from geo_assets_tests.sources.earth_engine.interrupts import interrupted_at_each_line


@contextmanager
def process(*arguments):
    command = [sys.executable, "-m", f"{__package__}.machine_processes", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def free(folder, count):
    """Slots that nobody holds, by another pair of eyes."""
    slots = MachineSlots(folder, count)
    owners = [object() for _ in range(count)]
    taken = sum(slots._try_to_take(owner) for owner in owners)
    slots.close()
    return taken


def test_no_more_slots_are_held_than_there_are(tmp_path):
    slots = MachineSlots(tmp_path, 3)
    with slots.held(), slots.held():
        assert free(tmp_path, 3) == 1
    assert free(tmp_path, 3) == 3
    slots.close()


def test_a_run_with_few_slots_shares_them_with_a_run_of_many(tmp_path):
    many, few = MachineSlots(tmp_path, 5), MachineSlots(tmp_path, 2)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(many.held())
        # Those of many are taken from the top.
        assert free(tmp_path, 2) == 2
        held.enter_context(few.held())
        assert free(tmp_path, 5) == 1
    many.close()
    few.close()


def test_a_killed_process_frees_its_slots(tmp_path):
    with process("hold", tmp_path, 3) as holder:
        assert holder.stdout.readline() == "held\n"
        assert free(tmp_path, 3) == 0
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert free(tmp_path, 3) == 3


def test_a_waiting_thread_gets_the_slot_of_a_killed_process(tmp_path):
    slots = MachineSlots(tmp_path, 2)
    got = threading.Event()

    def wait_and_take():
        with slots.held():
            got.set()

    with process("hold", tmp_path, 2) as holder:
        assert holder.stdout.readline() == "held\n"
        waiter = threading.Thread(target=wait_and_take)
        waiter.start()
        assert not got.is_set()
        holder.send_signal(signal.SIGKILL)
        assert got.wait(30)
        waiter.join()
    slots.close()


def _turns(running):
    """The most slots held by all, and the places of a process's turns among those of all."""
    most, *orders = [int(word) for word in running.stdout.readline().split()]
    return most, orders


def _go(running):
    running.stdin.write("go\n")
    running.stdin.flush()
    assert running.stdout.readline() == "busy\n"


def test_two_processes_with_different_counts_never_hold_more_than_the_larger(tmp_path):
    with process("compete", tmp_path, 6, 100) as one, process("compete", tmp_path, 4, 100) as two:
        for each in (one, two):
            assert each.stdout.readline() == "ready\n"
        for each in (one, two):
            _go(each)
        (most_1, orders_1), (most_2, orders_2) = _turns(one), _turns(two)
    assert max(most_1, most_2) <= 6
    assert sorted(orders_1 + orders_2) == list(range(1, 201))


def test_a_process_that_comes_late_need_not_wait_until_a_busy_one_has_done(tmp_path):
    with process("compete", tmp_path, 6, 600) as busy, process("compete", tmp_path, 6, 40) as late:
        for each in (busy, late):
            assert each.stdout.readline() == "ready\n"
        _go(busy)
        _go(late)
        (_, orders_busy), (_, orders_late) = _turns(busy), _turns(late)
    assert sum(turn < orders_late[-1] for turn in orders_busy) < 400


def test_a_forked_child_keeps_and_frees_no_slot_of_its_parent(tmp_path):
    slots = MachineSlots(tmp_path, 1)
    ends = os.pipe()
    with slots.held():
        child = os.fork()
        if not child:
            os.close(ends[1])
            os.read(ends[0], 1)
            os._exit(0)
        os.close(ends[0])
        assert free(tmp_path, 1) == 0
    # The child lives and holds nothing.
    assert free(tmp_path, 1) == 1
    slots.close()
    os.close(ends[1])
    os.waitpid(child, 0)


def test_an_interrupt_at_any_line_leaves_no_slot_held(tmp_path):
    functions = {"held", "_anyone_waits", "_try_to_take", "_locked_at_once"}

    def take(slots):
        with slots.held():
            pass

    interrupted = 0
    for slots in interrupted_at_each_line(
        take, machine_limits, functions, fresh=lambda: MachineSlots(tmp_path, 2)
    ):
        interrupted += 1
        assert not slots._owners
        assert free(tmp_path, 2) == 2
        slots.close()
    assert interrupted > 10


def test_an_interrupt_while_waiting_leaves_the_queue(tmp_path, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    one, other = MachineSlots(tmp_path, 1), MachineSlots(tmp_path, 1)
    monkeypatch.setattr(machine_limits.time, "sleep", interrupt)
    with one.held():
        with pytest.raises(KeyboardInterrupt), other.held():
            pass
        assert not other._anyone_waits()
        assert not one._anyone_waits()
    assert free(tmp_path, 1) == 1
    one.close()
    other.close()


@pytest.mark.parametrize("count", [0, 41])
def test_slots_beyond_the_services_limit_are_refused(tmp_path, count):
    with pytest.raises(SourceError, match="not from 1 to 40"):
        MachineSlots(tmp_path, count)


class Clock:
    """Time that only sleeping moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds >= 0
        self.now += seconds


def rate_of(folder, per_second, burst, clock):
    return MachineRate(folder, per_second, burst, clock=clock, sleep=clock.sleep)


@given(
    per_second=st.floats(0.5, 100),
    burst=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 3), min_size=2, max_size=60),
)
def test_no_window_of_any_length_holds_more_than_the_burst_and_its_share(
    tmp_path_factory, per_second, burst, gaps
):
    clock = Clock()
    folder = tmp_path_factory.mktemp("rate")
    rates = [rate_of(folder, per_second, burst, clock) for _ in range(2)]
    starts = []
    for number, gap in enumerate(gaps):
        clock.now += gap
        assert rates[number % 2].wait()
        starts.append(clock.now)
    for rate in rates:
        rate.close()
    for first, start in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= burst + per_second * (starts[last] - start) + 1e-6


def test_a_full_bucket_lets_a_burst_start_at_once_and_then_one_an_interval(tmp_path):
    clock = Clock()
    rate = rate_of(tmp_path, 10, 3, clock)
    rate.wait()  # a bucket that nobody has used before is empty
    clock.now += 60
    began = clock.now
    waited = []
    for _ in range(5):
        rate.wait()
        waited.append(round(clock.now - began, 9))
    assert waited == [0, 0, 0, 0.1, 0.2]
    rate.close()


def test_a_pause_holds_back_every_run_of_the_machine(tmp_path):
    clock = Clock()
    one, other = (rate_of(tmp_path, 10, 1, clock) for _ in range(2))
    one.pause(7)
    assert not other.wait()
    other.pause(3)  # shortens nothing
    other.rest()
    assert clock.now >= 1007
    assert other.wait()
    one.close()
    other.close()


def test_a_pause_asked_for_while_a_token_is_waited_for_is_kept(tmp_path):
    clock = Clock()
    other = rate_of(tmp_path, 1, 1, clock)

    def sleep(seconds):
        clock.sleep(seconds)
        other.pause(5)

    rate = MachineRate(tmp_path, 1, 1, clock=clock, sleep=sleep)
    while clock.now < 1005:
        clock.now += 10
        assert rate.wait()
    assert not rate.wait()
    rate.close()
    other.close()


def test_without_a_rate_only_pauses_are_kept(tmp_path):
    clock = Clock()
    rate = rate_of(tmp_path, None, 1, clock)
    assert all(rate.wait() for _ in range(100))
    assert clock.now == 1000
    rate.pause(2)
    assert not rate.wait()
    rate.close()


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff" * 20, b"\0" * 20, b"x" * 100])
def test_a_damaged_state_is_begun_anew(tmp_path, damage):
    (tmp_path / "rate").write_bytes(damage)
    clock = Clock()
    rate = rate_of(tmp_path, 10, 5, clock)
    assert rate.wait()
    assert clock.now <= 1001
    rate.close()


def test_the_state_of_another_boot_is_begun_anew(tmp_path, monkeypatch):
    clock = Clock()
    rate = rate_of(tmp_path, 10, 1, clock)
    rate.pause(3000)
    rate.close()
    boot = tmp_path / "boot_id"
    boot.write_text("another")
    monkeypatch.setattr(machine_limits, "_BOOT_ID", boot)
    rate = rate_of(tmp_path, 10, 1, clock)
    assert rate.wait()
    rate.close()


def test_an_interrupt_at_any_line_leaves_the_rate_free_for_others(tmp_path):
    functions = {"wait", "rest", "_pause_left", "_read", "_write", "_locked"}
    clock = Clock()
    interrupted = 0

    def ask(rate):
        rate.rest()
        rate.wait()

    other = rate_of(tmp_path, 1000, 40, clock)
    for rate in interrupted_at_each_line(
        ask, machine_limits, functions, fresh=lambda: rate_of(tmp_path, 1000, 40, clock)
    ):
        interrupted += 1
        assert machine_limits._locked_at_once(other._file, machine_limits.fcntl.LOCK_EX)
        machine_limits.fcntl.flock(other._file, machine_limits.fcntl.LOCK_UN)
        rate.close()
    other.close()
    assert interrupted > 10


def test_the_folder_is_the_users_own_and_one_for_each_service_and_project(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "limits"))
    folder = limits_folder("https://h", "p")
    assert folder == limits_folder("https://h/", "p")
    assert folder not in {limits_folder("https://h", "q"), limits_folder("https://g", "p")}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_behind_a_link_or_under_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / name))
        with pytest.raises(SourceError, match=FOLDER_VARIABLE):
            limits_folder("https://h", "p")


def test_a_link_in_place_of_a_slot_is_not_followed(tmp_path):
    (tmp_path / "slot-00").symlink_to(tmp_path / "target")
    with pytest.raises(SourceError, match="slot-00"):
        MachineSlots(tmp_path, 1)
    assert not (tmp_path / "target").exists()
