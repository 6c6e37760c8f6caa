"""What replies mean, and that no message holds a secret."""

from __future__ import annotations

import json

import pytest

from geo_assets.errors import ReadError
from geo_assets.sources.earth_engine.faults import (
    LONGEST_MESSAGE,
    LONGEST_PAUSE_S,
    CredentialsError,
    PermanentFault,
    TransientFault,
    raise_for,
    redacted,
    retry_after,
)
from geo_assets.sources.earth_engine.transport import Reply


def refusal(status, message, /, **more):
    body = json.dumps({"error": {"code": status, "message": message} | more}).encode()
    return Reply(status, {"content-type": "application/json"}, body)


RATE = (
    "Too Many Requests: Request was rejected because the request rate or concurrency limit was "
    "exceeded."
)
QUOTA = (
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests "
    "per minute per user' of service 'earthengine.googleapis.com' for consumer 'project_number:1'."
)


@pytest.mark.parametrize(
    "reply",
    [
        refusal(429, RATE),
        Reply(429, {}, b""),
        refusal(403, QUOTA),
        refusal(403, "no", errors=[{"reason": "userRateLimitExceeded"}]),
        refusal(403, "no", details=[{"reason": "RATE_LIMIT_EXCEEDED"}]),
        refusal(400, "Too many concurrent aggregations.", status="RESOURCE_EXHAUSTED"),
    ],
)
def test_refusals_for_rate_or_quota_are_throttling(reply):
    with pytest.raises(TransientFault) as caught:
        raise_for(reply)
    assert caught.value.throttled


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
def test_a_service_that_fails_is_transient_and_no_throttling(status):
    with pytest.raises(TransientFault) as caught:
        raise_for(refusal(status, "Internal error."))
    assert not caught.value.throttled


@pytest.mark.parametrize(
    "reply",
    [
        refusal(400, "User memory limit exceeded."),
        refusal(400, "Computation timed out."),
        refusal(403, "Permission denied."),
        refusal(403, "The caller requires a quota project."),
        refusal(404, "Image.load: Image asset 'x' not found."),
        Reply(413, {"content-type": "text/html"}, b"<html>"),
    ],
)
def test_refusals_that_stay_are_permanent_and_say_what_the_server_said(reply):
    with pytest.raises(PermanentFault, match=str(reply.status)) as caught:
        raise_for(reply)
    said = json.loads(reply.body)["error"]["message"] if reply.body[:1] == b"{" else "a web page"
    assert said in str(caught.value)


def test_401_ends_the_run_since_it_is_no_read_error():
    with pytest.raises(CredentialsError, match="earthengine authenticate") as caught:
        raise_for(refusal(401, "Request had invalid authentication credentials."))
    assert not isinstance(caught.value, ReadError)


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[]", b'{"error": 3}', b"[" * 100_000, b"null"]
)
def test_an_error_of_any_body_is_classified_by_its_status(body):
    with pytest.raises(TransientFault):
        raise_for(Reply(503, {}, body))


def test_a_success_with_content_raises_nothing():
    raise_for(Reply(200, {"content-type": "application/json"}, b"{}"))


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("1.5", 1.5),
        ("999999999", LONGEST_PAUSE_S),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("", None),
        ("-3", None),
        ("soon", None),
        ("٣", None),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(stated, seconds):
    headers = {"retry-after": stated, "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date_without_the_servers_clock_uses_ours():
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, now=90) == 10


def test_messages_hold_no_token_and_no_query_and_have_an_end():
    text = redacted(
        "at https://h/x?access_token=abc Bearer s3cret ya29.to-ken AIzaKey key=kk "
        "eyJhbGciOi.eyJzdWIi.c2ln\nnext " + "x" * 9999
    )
    for secret in ("abc", "s3cret", "ya29", "AIza", "kk ", "eyJ", "\n"):
        assert secret not in text
    assert "https://h/x?…" in text
    assert len(text) == LONGEST_MESSAGE + 1
