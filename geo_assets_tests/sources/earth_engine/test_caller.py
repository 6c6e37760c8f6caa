"""Calls over a transport that a test scripts: turns, retries, and what is held meanwhile."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.earth_engine.caller import Caller
from geo_assets.sources.earth_engine.faults import (
    CredentialsError,
    OutageFault,
    PermanentFault,
    TransientFault,
)
from geo_assets.sources.earth_engine.machine_limits import MachineRate
from geo_assets.sources.earth_engine.policy import RequestPolicy
from geo_assets.sources.earth_engine.transport import Reply

OK = Reply(200, {}, b"ok")
BUSY = Reply(429, {}, b"")
DOWN = Reply(503, {}, b"")


class Script:
    """Stands in for ``Transport``: gives its replies one after the other, the last for ever."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = 0
        self._lock = threading.Lock()

    def require_own_process(self):
        pass

    def send(self, _method, _path, _body=None):
        with self._lock:
            self.asked += 1
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(reply):
            reply = reply()
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def close(self):
        pass


QUICK = {"wait_initial_s": 0.0, "wait_max_s": 0.0, "requests_per_second": None}


@pytest.fixture
def caller_of(tmp_path):
    made = []

    def make(*replies, **rules):
        script = Script(*replies)
        caller = Caller(script, RequestPolicy(**(QUICK | rules)), tmp_path)
        made.append(caller)
        return caller, script

    yield make
    for caller in made:
        assert caller.stats().in_flight == 0
        assert not caller._slots._owners
        caller.close()


def ask(caller, check=bytes):
    return caller.call("POST", "/v1/x", b"{}", check=check)


def test_an_answer_is_what_its_check_makes_of_it(caller_of):
    caller, script = caller_of(OK)
    assert ask(caller, check=len) == 2
    traffic = caller.stats()
    assert (traffic.requests, traffic.first_requests, traffic.retries) == (1, 1, 0)
    assert script.asked == 1


def test_transient_faults_and_bad_payloads_are_asked_again(caller_of):
    html = Reply(200, {"content-type": "text/html"}, b"<html>")
    caller, script = caller_of(DOWN, TransientFault("reset"), html, Reply(200, {}, b""), BUSY, OK)
    assert ask(caller) == b"ok"
    assert script.asked == 6
    assert caller.stats().retries == 5
    assert caller.stats().throttled == 1


def test_a_check_that_refuses_a_payload_has_it_asked_again(caller_of):
    caller, _ = caller_of(Reply(200, {}, b"bad"), OK)

    def check(body):
        if body == b"bad":
            raise ReadError("no pixels", kind="invalid_payload")
        return body

    assert ask(caller, check) == b"ok"


def test_a_check_is_made_while_no_slot_is_held(caller_of):
    caller, _ = caller_of(OK)
    assert ask(caller, lambda _: caller.stats().in_flight) == 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(400, {}, b'{"error": {"message": "User memory limit exceeded."}}'), PermanentFault),
        (Reply(403, {}, b'{"error": {"message": "Permission denied"}}'), PermanentFault),
        (Reply(401, {}, b""), CredentialsError),
        (SourceError("forked"), SourceError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_asking_again_cannot_help_is_asked_once(caller_of, reply, error):
    caller, script = caller_of(reply)
    with pytest.raises(error):
        ask(caller)
    assert script.asked == 1


def test_the_last_fault_is_raised_after_all_attempts(caller_of):
    caller, script = caller_of(DOWN, attempts=3)
    with pytest.raises(TransientFault, match="503"):
        ask(caller)
    assert script.asked == 3


def test_a_storm_asks_no_more_often_than_the_budget_allows(caller_of):
    caller, script = caller_of(DOWN, retry_share=0.4, retry_floor=2, breaker_failures=1000)
    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(ask, caller) for _ in range(50)]:
            assert isinstance(future.exception(), TransientFault)
    assert script.asked <= 50 + 2 + 20
    assert caller.stats().requests == script.asked


def test_requests_that_fail_count_for_the_time_of_a_call(caller_of, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("geo_assets.sources.earth_engine.caller.time.monotonic", lambda: now[0])

    def times_out():
        now[0] += 200
        return TransientFault("timed out")

    caller, script = caller_of(times_out, total_s=300, attempts=6, breaker_failures=100)
    with pytest.raises(TransientFault):
        ask(caller)
    assert script.asked == 2


def test_retry_after_is_known_to_all_runs_before_the_slot_is_free(caller_of, tmp_path):
    refused = Reply(429, {"retry-after": "3000"}, b"")
    caller, _ = caller_of(refused, total_s=1)
    other = MachineRate(tmp_path, None, 1)
    release = caller._slots._give_back
    known = []

    def give_back(owner):
        known.append(not other.wait())
        release(owner)

    caller._slots._give_back = give_back
    with pytest.raises(TransientFault) as caught:
        ask(caller)
    assert caught.value.retry_after_s == 3000
    assert known == [True]
    other.close()


def test_who_waits_for_a_pause_holds_no_slot(caller_of):
    caller, script = caller_of(OK)
    caller._rate.pause(3000)
    seen = []

    def sleep(_seconds):
        seen.append((caller.stats().in_flight, len(caller._slots._owners)))
        raise KeyboardInterrupt

    caller._rate._sleep = sleep
    with pytest.raises(KeyboardInterrupt):
        ask(caller)
    assert seen == [(0, 0)]
    assert script.asked == 0


def test_who_waits_to_ask_again_holds_no_slot(caller_of, monkeypatch):
    caller, _ = caller_of(DOWN, OK, wait_initial_s=0.01, wait_max_s=0.01)
    seen = []
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: seen.append(caller.stats().in_flight))
    assert ask(caller) == b"ok"
    assert seen == [0]


def test_throttling_halves_the_limit_and_opens_no_breaker(caller_of):
    caller, _ = caller_of(*[BUSY] * 5, OK, concurrency=32, breaker_failures=2)
    assert ask(caller) == b"ok"
    assert caller.stats().limit == 2  # 1, and the success raised it
    assert caller.stats().breaker_state == "closed"


def test_an_outage_opens_the_breaker_and_then_fails_calls_without_asking(caller_of):
    caller, script = caller_of(DOWN, attempts=1, breaker_failures=3, outage_patience_s=0.0)
    for _ in range(3):
        with pytest.raises(TransientFault, match="503"):
            ask(caller)
    with pytest.raises(OutageFault):
        ask(caller)
    assert script.asked == 3
    assert caller.stats().breaker_state == "open"


def test_the_second_send_of_a_renewed_token_is_counted(caller_of):
    caller, _ = caller_of(Reply(200, {}, b"ok", sent=2))
    ask(caller)
    assert caller.stats().requests == 2


def test_retries_write_no_line_each(caller_of, caplog, capsys):
    caller, _ = caller_of(DOWN, DOWN, OK)
    with caplog.at_level(logging.INFO):
        ask(caller)
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_many_threads_never_ask_more_at_once_than_the_policy_allows(caller_of):
    together = threading.Barrier(4)
    lock = threading.Lock()
    inside = most = 0

    def reply():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait(20)
        with lock:
            inside -= 1
        return OK

    caller, script = caller_of(reply, concurrency=4)
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(lambda _: ask(caller), range(24))) == [b"ok"] * 24
    assert most == 4
    assert script.asked == 24


def test_the_folder_of_a_caller_that_shares_with_nobody_goes_with_it():
    caller = Caller(Script(OK), RequestPolicy(**QUICK), None)
    folder = Path(caller._own_folder.name)
    assert ask(caller) == b"ok"
    assert folder.is_dir()
    caller.close()
    assert not folder.exists()
