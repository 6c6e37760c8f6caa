"""The loopback Earth Engine as a server, mostly through plain HTTP."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import urllib3

from geo_assets_tests.emulators.earth_engine.canned import (
    LatticePixels,
    StaticPixels,
    lattice_record,
)
from geo_assets_tests.emulators.earth_engine.faults import CHIP_FAULTS, ERRORS, FaultKind, FaultPlan
from geo_assets_tests.emulators.earth_engine.quota import Rate, SlidingWindow
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

EXPRESSION = {
    "result": "0",
    "values": {
        "0": {
            "functionInvocationValue": {
                "functionName": "Image.constant",
                "arguments": {"value": {"constantValue": 1}},
            }
        }
    },
}
CANNED = LatticePixels(("B2", "B3", "valid"))


def grid(row=-400_000, column=50_000, side=16):
    return {
        "dimensions": {"width": side, "height": side},
        "affineTransform": {
            "scaleX": 10,
            "shearX": 0,
            "translateX": column * 10,
            "shearY": 0,
            "scaleY": -10,
            "translateY": row * -10,
        },
        "crsCode": "EPSG:32614",
    }


def key(column):
    return f"-400000_{column}_16x16"


class Client:
    """One pool of connections to an emulator; nothing is tried again."""

    def __init__(self, emulator, connections=1, read_s=20.0):
        self.base = f"{emulator.url}/v1/projects/{emulator.project}/"
        self.emulator = emulator
        self.pool = urllib3.PoolManager(
            maxsize=connections, retries=False, timeout=urllib3.Timeout(connect=5, read=read_s)
        )

    def post(self, method, **fields):
        body = json.dumps({"expression": EXPRESSION} | fields).encode()
        return self.pool.request("POST", self.base + method, body=body)

    def pixels(self, column=50_000, **fields):
        return self.post(
            "image:computePixels", fileFormat="NPY", grid=grid(column=column), **fields
        )

    def admin(self, method, path, fields=None):
        body = None if fields is None else json.dumps(fields).encode()
        return self.pool.request(method, f"{self.emulator.url}/_emulator/{path}", body=body)


def decoded(reply):
    return np.load(io.BytesIO(reply.data), allow_pickle=False)


def faulty(kind, **fields):
    return FaultPlan(share=1, kinds=(kind,), trickle_s=0.01, retry_after_s=7, **fields)


def test_a_canned_chip_is_a_function_of_its_place_on_the_lattice_and_its_bands():
    with EarthEngineEmulator(canned=CANNED) as emulator:
        got = decoded(Client(emulator).pixels(60_000, bandIds=["B8", "valid"]))
    expected = lattice_record((-400_000, 60_000, 16, 16), ("B8", "valid"), "uint16")
    assert got.dtype == expected.dtype
    assert (got == expected).all()
    assert (got["valid"] == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_a_canned_chip_of_another_place_differs_in_nearly_every_pixel(dtype):
    def chip(row, column, bands=("B2",)):
        return lattice_record((row, column, 64, 64), bands, dtype)

    here = chip(-1000, 500)["B2"]
    for row, column in ((-1064, 500), (-1000, 564), (-1001, 500), (500, -1000)):
        assert (here == chip(row, column)["B2"]).mean() < 0.02
    two = chip(-1000, 500, ("B2", "B3"))
    assert (two["B2"] == two["B3"]).mean() < 0.02


def test_the_static_payload_has_the_size_that_was_asked_for():
    pixels = StaticPixels(256, 256, ("a", "b", "c", "d", "valid"), "uint16")
    with EarthEngineEmulator(canned=pixels) as emulator:
        got = decoded(Client(emulator).pixels())
    assert got.shape == (256, 256)
    assert got.nbytes == 655_360
    assert pixels.payload is pixels.payload


@pytest.mark.parametrize("kind", list(ERRORS))
def test_an_error_has_the_form_of_the_service_and_then_goes_away(kind):
    with EarthEngineEmulator(canned=CANNED, faults=faulty(kind)) as emulator:
        client = Client(emulator)
        reply, second = client.pixels(), client.pixels()
    error = reply.json()["error"]
    assert reply.status == error["code"] == ERRORS[kind].code
    assert error["status"]
    assert error["message"] == ERRORS[kind].message
    retry_after = reply.headers.get("Retry-After")
    assert retry_after == ("7" if kind is FaultKind.THROTTLED_RETRY_AFTER else None)
    assert second.status == 200
    assert [entry.fault for entry in emulator.ledger.entries] == [kind, None]


@pytest.mark.parametrize(
    ("kind", "raised"),
    [(FaultKind.RESET, "reset by peer"), (FaultKind.TRUNCATED, "IncompleteRead")],
)
def test_a_broken_connection_is_an_error_of_the_client(kind, raised):
    with EarthEngineEmulator(canned=CANNED, faults=faulty(kind)) as emulator:
        client = Client(emulator)
        with pytest.raises(urllib3.exceptions.ProtocolError, match=raised):
            client.pixels()
        assert client.pixels().status == 200


def test_a_hanging_request_holds_its_slot_until_the_client_leaves():
    with EarthEngineEmulator(canned=CANNED, faults=faulty(FaultKind.HANG)) as emulator:
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            Client(emulator, read_s=0.2).pixels()
        client = Client(emulator)
        assert client.pixels().status == 200
        assert emulator.ledger.entries[0].status == 0


def test_a_server_ends_at_once_although_a_request_hangs_and_leaves_no_thread():
    before = set(threading.enumerate())
    answers = ThreadPoolExecutor(1)
    with EarthEngineEmulator(canned=CANNED, faults=faulty(FaultKind.HANG, hang_s=600)) as emulator:
        client = Client(emulator)
        waiting = answers.submit(client.pixels)
        while not emulator.ledger.entries:
            pass
        assert not waiting.done()
    with pytest.raises(urllib3.exceptions.HTTPError):
        waiting.result(timeout=20)
    answers.shutdown()
    assert set(threading.enumerate()) <= before


def test_html_and_emptiness_come_with_status_200():
    with EarthEngineEmulator(canned=CANNED, faults=faulty(FaultKind.HTML)) as emulator:
        client = Client(emulator)
        page = client.pixels()
        emulator.faults = faulty(FaultKind.EMPTY)
        empty = client.pixels(50_016)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
    assert page.data.startswith(b"<!DOCTYPE html>")
    assert (empty.status, empty.data) == (200, b"")


def test_a_trickling_answer_is_right_in_the_end():
    with EarthEngineEmulator(canned=CANNED, faults=faulty(FaultKind.TRICKLE)) as emulator:
        client = Client(emulator)
        assert client.pixels().data == client.pixels().data


@pytest.mark.parametrize("kind", [FaultKind.FLIPPED_HEADER, FaultKind.FLIPPED_PIXEL])
def test_one_bit_is_flipped_where_the_fault_says_and_elsewhere_for_another_chip(kind):
    places = set()
    with EarthEngineEmulator(canned=CANNED, faults=faulty(kind)) as emulator:
        client = Client(emulator)
        for column in range(50_000, 50_160, 16):
            bad, good = (np.frombuffer(client.pixels(column).data, np.uint8) for _ in range(2))
            assert bad.size == good.size
            [place] = np.flatnonzero(bad != good)
            assert int(bad[place] ^ good[place]).bit_count() == 1
            pixels = good.size - 16 * 16 * 6
            assert (place >= pixels) == (kind is FaultKind.FLIPPED_PIXEL)
            places.add(int(place))
    assert len(places) > 3


def test_a_script_says_what_each_try_of_a_chip_meets():
    plan = FaultPlan(script={key(50_000): ["500", None, "503"]})
    with EarthEngineEmulator(canned=CANNED, faults=plan) as emulator:
        client = Client(emulator)
        statuses = [client.pixels(50_000).status for _ in range(4)]
        assert client.pixels(50_016).status == 200
    assert statuses == [500, 200, 503, 200]
    assert emulator.ledger.requests_by_chip() == {key(50_000): 4, key(50_016): 1}


def test_faults_depend_on_seed_chip_and_try_alone():
    plan, other = (FaultPlan(share=0.2, tries="every", seed=seed) for seed in (3, 4))
    asked = [(f"chip {number}", attempt) for number in range(1_000) for attempt in range(2)]
    picked = [plan.pick(*request) for request in asked]
    assert picked == list(reversed([plan.pick(*request) for request in reversed(asked)]))
    assert picked != [other.pick(*request) for request in asked]
    assert 300 < sum(kind is not None for kind in picked) < 500
    assert {kind for kind in picked if kind} == set(CHIP_FAULTS)


def test_faults_of_all_tries_stay_and_those_of_the_first_do_not():
    for tries, later in (("first", None), ("all", FaultKind.INTERNAL)):
        plan = FaultPlan(share=1, kinds=("500",), tries=tries)
        assert plan.pick("chip", 0) is FaultKind.INTERNAL
        assert plan.pick("chip", 5) is later


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"share": 2}, "share"),
        ({"tries": "last"}, "tries"),
        ({"kind": "500"}, "kind"),
        ({"kinds": ["501"]}, "501"),
        ({"scope": "none"}, "scope"),
        ({"share": 1, "kinds": []}, "kinds"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        FaultPlan.from_dict(fields)


def test_requests_above_the_cap_are_refused_and_counted():
    with EarthEngineEmulator(canned=CANNED, cap=3, latency_s=0.3) as emulator:
        client = Client(emulator, 8)
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(client.pixels, range(50_000, 50_128, 16)))
        refused = [reply for reply in replies if reply.status == 429]
        assert len(refused) + sum(reply.status == 200 for reply in replies) == 8
        assert len(refused) == emulator.slots.refused > 0
        assert emulator.max_in_flight == 4
        assert "concurrency limit" in refused[0].json()["error"]["message"]
        assert emulator.slots.in_flight == 0


def test_a_client_at_exactly_the_cap_is_never_refused_when_slots_are_freed_early():
    with EarthEngineEmulator(canned=CANNED, cap=8) as emulator:
        client = Client(emulator, 8)
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(client.pixels, range(400)))
        assert {reply.status for reply in replies} == {200}
        assert emulator.slots.refused == 0
        assert emulator.max_in_flight <= 8


def test_a_window_admits_the_rate_and_no_more_until_the_oldest_has_left():
    now = [0.0]
    window = SlidingWindow(Rate(3, 10.0), clock=lambda: now[0])
    assert [window.admit() for _ in range(3)] == [None] * 3
    now[0] = 4.0
    assert window.admit() == pytest.approx(6.0)
    now[0] = 10.0
    assert window.admit() is None


def test_the_rate_quota_answers_as_the_service():
    with EarthEngineEmulator(canned=CANNED, rate=Rate(2, 600.0)) as emulator:
        client = Client(emulator)
        statuses = [client.pixels().status for _ in range(3)]
        assert "Quota exceeded" in client.pixels().json()["error"]["message"]
    assert statuses == [200, 200, 429]


def test_the_ledger_knows_when_a_chip_came_again_after_it_was_told_to_wait():
    plan = faulty(FaultKind.THROTTLED_RETRY_AFTER)
    with EarthEngineEmulator(canned=CANNED, faults=plan) as emulator:
        client = Client(emulator)
        client.pixels()
        client.pixels()
        [wait] = emulator.ledger.waits()
        summary = client.admin("GET", "ledger").json()
    assert wait.retry_after_s == 7
    assert 0 < wait.any_chip_s <= wait.same_chip_s < 7
    assert summary["before_retry_after"] == 1
    assert summary["requests"] == 2
    assert summary["chips"] == summary["max_in_flight"] == 1


def test_settings_and_faults_change_from_another_process():
    with EarthEngineEmulator(canned=CANNED) as emulator:
        client = Client(emulator)
        plan = {"share": 1, "kinds": ["503"], "tries": "all"}
        assert client.admin("PUT", "faults", plan).status == 200
        assert client.pixels().status == 503
        assert client.admin("PUT", "faults", {}).status == 200
        assert client.pixels().status == 200
        settings = {"cap": 7, "rate": {"requests": 1, "window_s": 60}, "latency_s": 0}
        assert client.admin("PUT", "settings", settings).status == 200
        assert (emulator.slots.cap, emulator.window.rate) == (7, Rate(1, 60))
        bad = client.admin("PUT", "settings", {"colour": 1})
        assert (bad.status, "colour" in bad.json()["error"]) == (400, True)
        assert client.admin("DELETE", "ledger").status == 200
        assert client.admin("GET", "ledger").json()["requests"] == 0
        assert client.admin("GET", "nothing").status == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"grid":{}}', b""])
def test_a_body_without_an_expression_is_refused(body):
    with EarthEngineEmulator(canned=CANNED) as emulator:
        client = Client(emulator)
        reply = client.pool.request("POST", client.base + "image:computePixels", body=body)
    assert (reply.status, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_the_command_serves_until_it_is_told_to_end():
    command = [sys.executable, "-m", "geo_assets_tests.emulators.earth_engine"]
    options = ["--canned", "lattice", "--faults", "0.5", "--seed", "1", "--fault-kinds", "500"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as server:
        line = server.stdout.readline()
        url = line.split()[0]
        try:
            assert f"GEO_ASSETS_EE_URL={url}" in line
            assert "GEO_ASSETS_EE_PROJECT=test-project" in line
            summary = urllib3.request("GET", f"{url}/_emulator/ledger", retries=False).json()
            assert summary["requests"] == 0
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


def test_what_breaks_inside_is_told_and_kept_for_the_test(monkeypatch, caplog):
    with EarthEngineEmulator(canned=CANNED) as emulator:

        def broken(_call):
            raise ZeroDivisionError("by accident")

        monkeypatch.setattr(emulator.service, "answer", broken)
        reply = Client(emulator).pixels()
    assert (reply.status, emulator.breakages) == (500, ["ZeroDivisionError: by accident"])
    assert "by accident" in reply.json()["error"]["message"]
    assert "image:computePixels" in caplog.text
    assert emulator.slots.in_flight == 0
