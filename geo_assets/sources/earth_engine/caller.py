"""Calls to the server: each waits for its turn, is repeated where that helps, and is checked.

The only place that decides when a request is sent. What is asked belongs to pixels.py and session.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from geo_assets.sources.earth_engine.policy import RequestPolicy
    from geo_assets.sources.earth_engine.traffic import Traffic
    from geo_assets.sources.earth_engine.transport import Reply, Transport

T = TypeVar("T")


class Caller:
    """Asks one server by the rules of one policy, from many threads.

    Args:
        transport: Connections to the server.
        policy: How much, how often, how patiently.
        machine: Folder of the limits shared by all processes of this machine
            (``machine_limits.limits_folder``); None: this process shares with nobody.
    """

    def __init__(self, transport: Transport, policy: RequestPolicy, machine: Path | None) -> None:
        raise NotImplementedError

    def call(
        self, method: str, path: str, body: bytes | None = None, *, check: Callable[[bytes], T]
    ) -> T:
        """Ask until there is an answer that passes its check, and return what the check returns."""
        raise NotImplementedError

    def reply(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Ask likewise and return the reply with its headers, for the official client."""
        raise NotImplementedError

    def stats(self) -> Traffic:
        """Return what was sent so far."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError
