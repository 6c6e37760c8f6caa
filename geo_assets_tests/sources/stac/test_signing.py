"""Hrefs of the Planetary Computer, and the service that signs them in all its moods."""

from __future__ import annotations

import datetime as dt
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import planetary_computer
import pytest
from planetary_computer import sas
from planetary_computer.settings import Settings

from geo_assets.errors import ErrorKind, ReadError
from geo_assets.sources.scenes.asset_files import HttpRules
from geo_assets.sources.scenes.failures import RemoteReadError
from geo_assets.sources.stac import signing as signing_module
from geo_assets.sources.stac.signing import PlanetaryComputerSigning
from geo_assets.sources.stac.source import StacRules, StacSource
from geo_assets.storage.chips.messages import publishable
from geo_assets_tests.emulators.file_server import Answer, serve_files
from geo_assets_tests.sources.scene_testing import GRID, item_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geo_assets_tests.emulators.file_server import FileServer

HREF = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/x.tif"


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(signing_module, "monotonic", clock)
    return clock


@contextmanager
def token_service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The service that gives the Planetary Computer's tokens, on the loopback."""
    expiry = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    with serve_files(folder) as server:
        body = json.dumps({"msft:expiry": expiry, "token": "sig=secret"}).encode()
        server.always = Answer(200, body, (("Content-Type", "application/json"),))
        monkeypatch.setattr(Settings.get(), "sas_url", server.url)
        monkeypatch.setattr(sas, "TOKEN_CACHE", {})
        yield server


def test_planetary_computer_hrefs_are_signed_when_read_and_again_when_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing = PlanetaryComputerSigning()
    with token_service(tmp_path, monkeypatch) as server:
        assert signing.sign(HREF) == planetary_computer.sign(HREF) == f"{HREF}?sig=secret"
        assert signing.sign("https://elsewhere.org/x.tif") == "https://elsewhere.org/x.tif"
        assert len(server.requests) == 1
        signing.renew(HREF)
        signing.sign(HREF)
        assert len(server.requests) == 2


def test_a_token_service_that_does_not_answer_is_a_transient_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Settings.get(), "sas_url", "http://127.0.0.1:9")
    monkeypatch.setattr(sas, "TOKEN_CACHE", {})
    with pytest.raises(ReadError) as raised:
        PlanetaryComputerSigning().sign("https://a.blob.core.windows.net/b/x.tif")
    assert raised.value.kind == "transient"


def test_threads_that_need_the_same_token_ask_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with token_service(tmp_path, monkeypatch) as server, ThreadPoolExecutor(8) as pool:
        signed = set(pool.map(PlanetaryComputerSigning().sign, [HREF] * 32))
        assert signed == {f"{HREF}?sig=secret"}
        assert len(server.requests) == 1


def failure_of(signing: PlanetaryComputerSigning) -> RemoteReadError:
    with pytest.raises(RemoteReadError) as raised:
        signing.sign(HREF)
    return raised.value


def test_hrefs_that_are_public_or_signed_are_not_signed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = "https://ai4edatasetspublicassets.blob.core.windows.net/assets/x.png"
    with token_service(tmp_path, monkeypatch) as server:
        for href in (public, f"{HREF}?st=1&se=2&sp=r&sig=other"):
            assert PlanetaryComputerSigning().sign(href) == planetary_computer.sign(href) == href
        assert server.requests == []


def test_an_href_that_names_no_container_fails_for_good() -> None:
    with pytest.raises(ReadError, match="names no container") as raised:
        PlanetaryComputerSigning().sign("https://a.blob.core.windows.net/x.tif")
    assert raised.value.kind == "permanent"


def test_a_service_that_is_silent_is_not_waited_for_longer_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and that is all
        monkeypatch.setattr(
            Settings.get(), "sas_url", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        monkeypatch.setattr(sas, "TOKEN_CACHE", {})
        failure = failure_of(PlanetaryComputerSigning(HttpRules(timeout_s=0.05)))
    assert failure.kind == "transient"
    assert publishable(str(failure)).endswith("service that signs hrefs: ReadTimeout")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(404), "permanent", "the server answers 404 Not Found"),
        (Answer(403), "permanent", "the server answers 403 Forbidden"),
        (Answer(503), "transient", "the server answers 503 Service Unavailable"),
        (Answer(200, b"half", promised=9), "transient", "ChunkedEncodingError"),
        (Answer(200, b"<html>"), "invalid_payload", "of another form: JSONDecodeError"),
        (Answer(200, b"[]"), "invalid_payload", "of another form: TypeError"),
        (Answer(200, b'{"message": "x"}'), "invalid_payload", "of another form: ValidationError"),
        (
            Answer(200, b'{"token": "x", "msft:expiry": "2099-01-01T00:00:00"}'),
            "invalid_payload",
            "of another form: TypeError",
        ),
    ],
)
def test_a_service_that_gives_no_token_fails_in_a_way_that_says_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    kind: ErrorKind,
    words: str,
) -> None:
    with token_service(tmp_path, monkeypatch) as server:
        server.always = answer
        failure = failure_of(PlanetaryComputerSigning())
    assert (failure.kind, failure.whole) == (kind, True)
    assert publishable(str(failure)).endswith(words)


@pytest.mark.parametrize(("status", "lasts"), [(503, 0.5), (404, 600.0)])
def test_a_failure_is_remembered_for_a_while_and_then_asked_about_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, status: int, lasts: float
) -> None:
    signing = PlanetaryComputerSigning(HttpRules(wait_initial_s=0.5))
    with token_service(tmp_path, monkeypatch) as server, ThreadPoolExecutor(8) as pool:
        server.faults.append(Answer(status))
        failures = list(pool.map(failure_of, [signing] * 32))
        assert len(server.requests) == 1
        assert {failure.retry_after_s for failure in failures} == {lasts}
        clock.now += lasts
        assert signing.sign(HREF) == f"{HREF}?sig=secret"


def test_each_failure_in_a_row_is_remembered_for_longer_up_to_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    signing = PlanetaryComputerSigning(HttpRules(wait_initial_s=10))
    waits = []
    with token_service(tmp_path, monkeypatch) as server:
        server.faults.extend([Answer(503)] * 4)
        for _ in range(4):
            waits.append(failure_of(signing).retry_after_s)
            clock.now += 60
        signing.sign(HREF)
        server.faults.append(Answer(503))
        signing.renew(HREF)
        waits.append(failure_of(signing).retry_after_s)
    assert waits == [10, 20, 40, 60, 10]


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("3600", 60.0)])
def test_a_service_that_says_when_to_come_again_is_left_alone_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, asked: str, waited: float
) -> None:
    signing = PlanetaryComputerSigning()
    with token_service(tmp_path, monkeypatch) as server:
        server.faults.append(Answer(429, headers=(("Retry-After", asked),)))
        assert failure_of(signing).retry_after_s == waited
        clock.now += waited - 1
        assert failure_of(signing).retry_after_s == 1
        assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (503, 2)])
def test_the_bands_of_a_scene_do_not_ask_a_failing_service_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, asked: int
) -> None:
    bands = [f"B{number:02d}" for number in range(1, 13)]
    scene = item_of({band: {"href": HREF.replace("x.tif", f"{band}.tif")} for band in bands})
    http = HttpRules(attempts=2, timeout_s=5, wait_initial_s=0.001, wait_max_s=0.01)
    source = StacSource(StacRules(str(tmp_path), signing="planetary-computer", http=http))
    with token_service(tmp_path, monkeypatch) as server:
        server.always = Answer(status)
        for band in bands:
            with pytest.raises(ReadError, match=f"{status}"):
                source.read(scene, [band], GRID)
        assert len(server.requests) == asked
