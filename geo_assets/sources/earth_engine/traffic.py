"""How much a server was asked: a snapshot of counters, for progress lines and metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BreakerState = Literal["closed", "open", "half-open"]


@dataclass(frozen=True)
class Traffic:
    """Counts since the caller was made, and what it does at this moment."""

    requests: int
    """Requests that were sent, repeated ones included."""
    first_requests: int
    """Calls that came to send a request: each is one first request."""
    retries: int
    """Repetitions that were granted; each of them waits, and then is sent."""
    throttled: int
    """Answers that said the rate or the concurrency is above the quota."""
    in_flight: int
    """Requests that hold a slot now."""
    limit: int
    """Requests that may be in flight now: the campaign's limit, less after throttled answers."""
    breaker_state: BreakerState = "closed"
    """``open`` while the server is left alone after straight failures."""
