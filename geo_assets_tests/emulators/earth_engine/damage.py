"""What a fault that is no honest error does to an answer on its way."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from geo_assets_tests.emulators.earth_engine.faults import FaultKind, fraction
from geo_assets_tests.emulators.earth_engine.http_connections import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from geo_assets_tests.emulators.earth_engine.faults import FaultPlan
    from geo_assets_tests.emulators.earth_engine.http_connections import Connection
    from geo_assets_tests.emulators.earth_engine.ledger import Entry

_PAGE = b"<!DOCTYPE html><html><head><title>Error 502 (Server Error)</title></head></html>"
_PIECES = 20
_STRUCTURE_BYTES = 33
"""Signature and first chunk of a PNG; header and start of the directory of a TIFF."""


def altered(reply: Reply, kind: FaultKind, plan: FaultPlan, entry: Entry) -> Reply:
    """Return the answer that a fault leaves, complete in the eyes of HTTP."""
    if kind is FaultKind.HTML:
        return Reply(200, _PAGE, "text/html; charset=UTF-8")
    if kind is FaultKind.EMPTY:
        return Reply(200, b"", reply.content_type)
    if kind in {FaultKind.FLIPPED_HEADER, FaultKind.FLIPPED_PIXEL}:
        start = structure_bytes(reply.body)
        whole = (0, start) if kind is FaultKind.FLIPPED_HEADER else (start, len(reply.body))
        return replace(reply, body=_flipped(reply.body, whole, plan.seed, entry))
    return reply


def send_damaged(
    connection: Connection,
    reply: Reply,
    kind: FaultKind,
    plan: FaultPlan,
    release: Callable[[], None],
) -> bool:
    """Send an answer as a fault of the wire does; return False where there is no such fault.

    ``release`` gives the request's slot back; it is called before the client can see the end.
    """
    if kind is FaultKind.RESET:
        release()
        connection.reset()
    elif kind is FaultKind.HANG:
        connection.wait_until_left(plan.hang_s)
        release()
        connection.reset()
    elif kind is FaultKind.TRUNCATED:
        release()
        connection.socket.sendall(reply.head() + reply.body[: len(reply.body) // 2])
        connection.close()
    elif kind is FaultKind.TRICKLE:
        _trickle(connection, reply, plan, release)
    else:
        return False
    return True


def structure_bytes(body: bytes) -> int:
    """Return how many bytes at the start say what the rest means."""
    if body.startswith(b"\x93NUMPY"):
        (length,) = struct.unpack_from("<H", body, 8)
        # Blanks fill the header up: a flip there changes nothing.
        return len(body[: 10 + length].rstrip())
    return min(_STRUCTURE_BYTES, len(body))


def _flipped(body: bytes, part: tuple[int, int], seed: int, entry: Entry) -> bytes:
    first, stop = part
    if first >= stop:
        return body
    draw = (entry.key, str(entry.attempt))
    place = first + int(fraction(seed, "place", *draw) * (stop - first))
    bit = 1 << int(fraction(seed, "bit", *draw) * 8)
    changed = bytearray(body)
    changed[place] ^= bit
    return bytes(changed)


def _trickle(
    connection: Connection, reply: Reply, plan: FaultPlan, release: Callable[[], None]
) -> None:
    whole = reply.head() + reply.body
    size = max(1, -(-len(whole) // _PIECES))
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    for piece in pieces[:-1]:
        connection.socket.sendall(piece)
        if connection.stopping.wait(plan.trickle_s / len(pieces)):
            connection.close()
            release()
            return
    release()
    connection.socket.sendall(pieces[-1])
