from __future__ import annotations

import json
import logging
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import ee
import pytest

from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.earth_engine.faults import CredentialsError, PermanentFault
from geo_assets_tests.sources.earth_engine.scripted import session_with


@pytest.fixture(autouse=True)
def uninitialised():
    ee.Reset()
    yield
    ee.Reset()


def result(value):
    return lambda _: json.dumps({"result": value}).encode()


def test_the_client_is_initialised_once_whatever_number_of_threads_asks():
    session = session_with(result(1))
    together = threading.Barrier(8)

    def build(number):
        together.wait()
        session.prepare()
        return session.encode(ee.Number(number).add(1))

    with ThreadPoolExecutor(8) as pool:
        built = list(pool.map(build, range(8)))
    assert built == [session.encode(ee.Number(number).add(1)) for number in range(8)]
    descriptions = [path for path in session.caller.initialised if "discovery" in path]
    algorithms = [path for path in session.caller.initialised if "algorithms" in path]
    assert len(descriptions) == 2
    assert len(algorithms) == 1


def test_initialising_asks_no_other_host(monkeypatch):
    def refused(*_, **__):
        pytest.fail("the client asked another host")

    monkeypatch.setattr(urllib.request, "urlopen", refused)
    monkeypatch.setattr("requests.Session.request", refused)
    session = session_with(result(1))
    session.prepare()
    assert session.compute(ee.Number(1)) == 1


def raising(error, asked=None):
    """A ``Caller.call`` that fails."""

    def call(*request, **_):
        if asked is not None:
            asked.append(request)
        raise error

    return call


def test_the_client_does_not_repeat_what_the_caller_repeats():
    session = session_with()
    asked = []
    session.caller.call = raising(
        ReadError("Earth Engine answers 503: Unavailable", kind="transient"), asked
    )
    with pytest.raises(SourceError, match="503"):
        session.prepare()
    assert len(asked) == 1


def test_a_session_can_be_prepared_after_it_failed():
    session = session_with(result(1))
    known = session.caller.call
    session.caller.call = raising(PermanentFault("Earth Engine answers 403: no permission"))
    with pytest.raises(SourceError, match="no permission"):
        session.prepare()
    session.caller.call = known
    session.prepare()
    assert session.compute(ee.Number(1)) == 1


def test_a_project_that_may_not_be_used_is_named_with_what_to_do():
    session = session_with()
    session.caller.call = raising(
        PermanentFault(
            "Earth Engine answers 403: Caller does not have required permission to use project "
            "test-project."
        )
    )
    with pytest.raises(SourceError) as raised:
        session.prepare()
    message = str(raised.value)
    assert "test-project" in message
    assert "GEO_ASSETS_EE_PROJECT" in message
    assert "register" in message


def test_a_service_out_of_reach_is_named_by_its_address_and_not_blamed_on_the_project():
    session = session_with()
    session.caller.call = raising(ReadError("Connection refused", kind="transient"))
    with pytest.raises(SourceError) as raised:
        session.prepare()
    message = str(raised.value)
    assert session.connection.base_url in message
    assert "GEO_ASSETS_EE_URL" in message
    assert "register" not in message


def test_expired_credentials_end_the_run():
    session = session_with()
    session.caller.call = raising(
        CredentialsError("Earth Engine answers 401: expired; run `earthengine authenticate`")
    )
    with pytest.raises(CredentialsError, match="authenticate"):
        session.prepare()


def test_what_is_computed_is_what_the_client_would_send():
    session = session_with(result([1, "a", None]))
    session.prepare()
    value = ee.List([1, "a"]).cat(ee.List([None]))
    assert session.compute(value) == [1, "a", None]
    (asked,) = session.caller.asked
    assert (asked.method, asked.path) == ("POST", "/v1/projects/test-project/value:compute")
    session.caller.asked.clear()
    # The oracle: the official client, through the same transport.
    assert value.getInfo() == [1, "a", None]
    (official,) = session.caller.asked
    assert official.path.split("?")[0] == asked.path
    assert official.expression == asked.expression


def test_equal_expressions_are_equal_texts():
    session = session_with()
    session.prepare()

    def build():
        return ee.Image("a/b").select(["N", "R"]).updateMask(ee.Image("a/c").gt(0.25))

    text = session.encode(build())
    assert text == session.encode(build())
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_an_expression_longer_than_the_service_reads_is_refused():
    session = session_with()
    session.prepare()
    with pytest.raises(SourceError, match=r"10[,.]?485[,.]?760"):
        session.encode(ee.String("x" * 10_485_760))


@pytest.mark.parametrize("payload", [b"[]", b"{}", b"no json", b'"result"', b"\xff\xfe"])
def test_an_answer_without_a_result_is_an_invalid_payload(payload):
    session = session_with(lambda _: payload)
    session.prepare()
    with pytest.raises(ReadError) as raised:
        session.compute(ee.Number(1))
    assert raised.value.kind == "invalid_payload"


@pytest.mark.parametrize(
    ("asset_id", "name"),
    [
        ("COPERNICUS/S2_SR", "projects/earthengine-public/assets/COPERNICUS/S2_SR"),
        ("users/a/b", "projects/earthengine-legacy/assets/users/a/b"),
        ("projects/project-1/assets/b", "projects/project-1/assets/b"),
        ("projects/project-1/b", "projects/earthengine-legacy/assets/projects/project-1/b"),
    ],
)
def test_assets_are_named_as_the_client_names_them(asset_id, name):
    session = session_with(lambda _: b'{"updateTime": "2024-01-01T00:00:00Z"}')
    session.prepare()
    assert session.asset(asset_id)["updateTime"] == "2024-01-01T00:00:00Z"
    assert session.caller.asked[-1].path == f"/v1/{name}"
    ee.data.getAsset(asset_id)
    assert session.caller.asked[-1].path.split("?")[0] == f"/v1/{name}"


def test_sessions_of_two_services_work_side_by_side():
    first, second = session_with(result(1)), session_with(result(2))
    first.prepare()
    second.prepare()
    assert first.compute(ee.Number(1)) == 1
    assert second.compute(ee.Number(1)) == 2
    assert first.compute(ee.Number(1)) == 1


def test_nothing_is_logged_above_debug(caplog):
    with caplog.at_level(logging.INFO):
        session = session_with(result(1))
        session.prepare()
        session.compute(ee.Number(1))
    assert not caplog.records
