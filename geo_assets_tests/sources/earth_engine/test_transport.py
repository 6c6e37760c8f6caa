"""One try over real sockets: what breaks is noticed, and nothing leaks."""

from __future__ import annotations

import os
import socket
import struct

import google.oauth2.credentials
import pytest

from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.earth_engine import transport as transport_module
from geo_assets.sources.earth_engine.faults import CredentialsError, TransientFault, raise_for
from geo_assets.sources.earth_engine.policy import Timeouts
from geo_assets.sources.earth_engine.transport import Transport, is_loopback
from geo_assets_tests.sources.earth_engine.loopback import answer, loopback, sends

TOKEN = "ya29.canary-of-a-token"  # noqa: S105  # nobody's
BODY = bytes(range(256)) * 2560


def transport_to(url, credentials=None, **timeouts):
    return Transport(
        url,
        project="p-1",
        credentials=credentials,
        connections=2,
        timeouts=Timeouts(**timeouts) if timeouts else None,
    )


class IssuedTokens(google.oauth2.credentials.Credentials):
    """Credentials whose renewal asks nobody."""

    def __init__(self):
        super().__init__(token=None)
        self.issued = 0

    def refresh(self, request):  # noqa: ARG002  # google-auth's
        self.issued += 1
        self.token = f"{TOKEN}-{self.issued}"


def test_a_whole_reply_comes_byte_for_byte_over_one_connection():
    with loopback(sends(answer(BODY, "200 OK", "Content-Type: x/y"))) as server:
        transport = transport_to(server.url)
        replies = [transport.send("POST", "/v1/pixels", b'{"a": 1}') for _ in range(3)]
        transport.close()
    assert {reply.body for reply in replies} == {BODY}
    assert replies[0].headers["content-type"] == "x/y"
    assert server.connections == 1
    head = server.requests[0].lower()
    assert head.startswith(b"post /v1/pixels http/1.1\r\n")
    assert b"x-goog-user-project: p-1\r\n" in head
    assert b"x-goog-api-client: ee-py/" in head
    assert b"content-type: application/json" in head
    assert b"authorization" not in head


def test_a_chunked_reply_comes_whole_and_a_broken_one_is_noticed():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with loopback(sends(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) as server:
        assert transport_to(server.url).send("GET", "/").body == b"abcde"
    for broken in (b"3\r\nabc\r\n", b"9\r\nabc", b"3\r\nabc\r\nzz\r\n"):
        with (
            loopback(sends(head + broken, then="close")) as server,
            pytest.raises(TransientFault),
        ):
            transport_to(server.url).send("GET", "/")


@pytest.mark.parametrize("kept", [0, 1, len(BODY) // 2, len(BODY) - 1])
def test_a_truncated_body_is_a_transient_fault(kept):
    script = sends(answer(BODY[:kept], length=len(BODY)), then="close")
    with loopback(script) as server, pytest.raises(TransientFault, match="IncompleteRead"):
        transport_to(server.url).send("GET", "/")


def test_a_reset_connection_is_a_transient_fault_before_and_within_an_answer():
    def reset(_server, connection, _request):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "close"

    def reset_within(server, connection, request):
        connection.sendall(answer(b"half", length=99))
        return reset(server, connection, request)

    for script in (reset, reset_within):
        with loopback(script) as server, pytest.raises(TransientFault, match="no whole reply"):
            transport_to(server.url).send("GET", "/")


def test_a_refused_connection_is_a_transient_fault_that_names_the_host():
    with loopback(sends(answer())) as server:
        url = server.url
    with pytest.raises(TransientFault, match=r"127\.0\.0\.1: ConnectionRefusedError"):
        transport_to(url).send("GET", "/")


def test_a_server_that_hangs_is_left_after_the_read_timeout():
    def hang(server, _connection, _request):
        server.stopped.wait()
        return "close"

    with loopback(hang) as server, pytest.raises(TransientFault, match=r"(?i)timed? ?out"):
        transport_to(server.url, read_s=0.05).send("GET", "/")


def _trickles(start):
    def script(server, connection, _request):
        connection.sendall(start)
        while not server.stopped.wait(0.01):
            connection.sendall(b"x")
        return "close"

    return script


@pytest.mark.parametrize(
    "start",
    [answer(b"x", length=100_000), b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 "],
    ids=["body", "header", "status"],
)
def test_a_trickle_ends_with_the_total_time_wherever_it_trickles(start):
    # Each byte comes well within the read timeout.
    with (
        loopback(_trickles(start)) as server,
        pytest.raises(TransientFault, match=r"not whole after 0\.3 s|timed? ?out"),
    ):
        transport_to(server.url, read_s=60, total_s=0.3).send("GET", "/")


def test_a_connection_that_broke_is_not_used_again():
    replies = iter([(answer(b"half", length=99), "close"), (answer(b"whole"), None)])

    def script(_server, connection, _request):
        content, then = next(replies)
        connection.sendall(content)
        return then

    with loopback(script) as server:
        transport = transport_to(server.url)
        with pytest.raises(TransientFault):
            transport.send("GET", "/")
        assert transport.send("GET", "/").body == b"whole"
        assert server.connections == 2


def test_errors_of_any_status_are_replies_and_not_exceptions():
    for status in ("429 Too Many Requests", "500 Internal Server Error", "204 No Content"):
        with loopback(sends(answer(b"", status, "Retry-After: 7"))) as server:
            reply = transport_to(server.url).send("GET", "/")
        assert (reply.status, reply.body) == (int(status[:3]), b"")
        assert reply.headers["retry-after"] == "7"


def test_a_web_page_and_an_empty_answer_of_200_are_refused_as_payloads():
    for content in (answer(b"<html>", "200 OK", "Content-Type: text/html; x"), answer(b"")):
        with loopback(sends(content)) as server:
            reply = transport_to(server.url).send("GET", "/")
        with pytest.raises(ReadError) as caught:
            raise_for(reply)
        assert caught.value.kind == "invalid_payload"


def test_a_redirection_is_not_followed():
    with loopback(sends(answer())) as other:
        elsewhere = answer(b"", "302 Found", f"Location: {other.url}/stolen")
        with loopback(sends(elsewhere)) as server:
            reply = transport_to(server.url, IssuedTokens()).send("GET", "/")
        assert other.requests == []
    assert reply.status == 302
    with pytest.raises(ReadError, match="neither a success nor an error"):
        raise_for(reply)


def test_an_answer_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(transport_module, "MAX_REPLY_BYTES", 1000)
    with loopback(sends(answer(BODY))) as server, pytest.raises(ReadError, match="larger than"):
        transport_to(server.url).send("GET", "/")


def test_a_refused_token_is_renewed_once_and_the_request_sent_again():
    with loopback(sends(answer(b"", "401 Unauthorized"), answer(b"ok"))) as server:
        reply = transport_to(server.url, IssuedTokens()).send("GET", "/")
    assert (reply.body, reply.sent) == (b"ok", 2)
    sent = [line for request in server.requests for line in request.split(b"\r\n")]
    assert [line for line in sent if line.lower().startswith(b"authorization")] == [
        f"authorization: Bearer {TOKEN}-{n}".encode() for n in (1, 2)
    ]


def test_a_token_that_stays_refused_ends_in_a_credentials_error_without_the_token():
    said = f'{{"error": {{"message": "Bearer {TOKEN}-2 is not accepted"}}}}'.encode()
    with loopback(sends(answer(said, "401 Unauthorized"))) as server:
        reply = transport_to(server.url, IssuedTokens()).send("GET", "/")
    assert len(server.requests) == 2
    with pytest.raises(CredentialsError) as caught:
        raise_for(reply)
    assert TOKEN not in str(caught.value)


def test_another_server_is_never_asked():
    transport = transport_to("http://127.0.0.1:9")
    for url in ("http://127.0.0.1:10/x", "https://127.0.0.1:9/x", "http://example.org/x"):
        with pytest.raises(SourceError, match="not asked with the credentials"):
            transport.send("GET", url)


@pytest.mark.parametrize("url", ["ftp://h", "h", "http://", "http://u:secret@h", "http://h:x"])
def test_what_is_no_address_of_a_server_is_refused_without_its_secret(url):
    with pytest.raises(SourceError) as caught:
        transport_to(url)
    assert "secret" not in str(caught.value)


def test_a_token_is_not_sent_in_clear_text():
    with pytest.raises(SourceError, match="clear text"):
        transport_to("http://example.org", IssuedTokens())


def test_a_loopback_server_is_asked_without_the_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with loopback(sends(answer(b"direct"))) as server:
        assert transport_to(server.url).send("GET", "/").body == b"direct"


def test_a_forked_child_is_refused(monkeypatch):
    transport = transport_to("http://127.0.0.1:9")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(SourceError, match="forked"):
        transport.send("GET", "/")


def test_loopback_hosts_are_known_by_address():
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    assert not any(is_loopback(host) for host in ("localhost.evil.org", "10.0.0.1", "0.0.0.0"))  # noqa: S104  # no binding
