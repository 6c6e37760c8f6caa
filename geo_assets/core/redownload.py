"""The decision of the failed-chips sensor: which partitions to request again, and when.

Pure, so that it can be tested as a table; the sensor is a thin shell that gathers the states,
calls ``partitions_to_request`` and keeps the cursor.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class PartitionState:
    """How one partition stands at this moment."""

    retryable_failed: int
    """Failed chips for which asking again can help."""
    permanent_failed: int
    """Failed chips that wait for a person or for a new recipe."""
    content: str
    """Changes with every publication of the catalog (its latest ``updated``, say); empty: none."""
    dead_run: bool
    """The last run left a journal behind and nobody works on the partition."""
    in_flight: bool
    """A run of the partition is queued or holds its lock."""


@dataclass(frozen=True)
class RequestPolicy:
    """How patient the sensor is."""

    first_delay: dt.timedelta = dt.timedelta(minutes=5)
    """Between the first request, which comes at once, and the second."""
    growth: float = 3.0
    """Factor from each delay to the next, at least 1."""
    max_attempts: int = 5
    """Requests for one partition until it recovers."""

    def delay(self, attempts: int) -> dt.timedelta:
        """Return how long to wait after the request number ``attempts``, counted from 1."""
        return self.first_delay * self.growth ** (attempts - 1)


class CursorEntry(TypedDict):
    """What the cursor remembers of one partition; plain JSON."""

    attempts: int
    requested: str
    """Time of the latest request, ISO 8601 with its zone."""


@dataclass(frozen=True)
class PartitionRequest:
    """One partition to run again."""

    key: str
    attempt: int
    """Counted from 1 since the partition last was without failures."""
    run_key: str
    """Names partition, attempt and content: Dagster never runs the same run key twice."""


def partitions_to_request(
    states: Mapping[str, PartitionState],
    cursor: Mapping[str, CursorEntry],
    now: dt.datetime,
    policy: RequestPolicy,
) -> tuple[list[PartitionRequest], dict[str, CursorEntry]]:
    """Return the partitions to request now, in order of their keys, and the cursor to keep.

    A partition with retryable failures or a dead run is requested at once, then with a growing
    delay, a bounded number of times. While a run is in flight nothing is decided. A partition
    that recovers, or holds nothing but permanent failures, drops from the cursor: the next
    failure starts afresh.

    Args:
        states: Every partition's state, by partition key.
        cursor: The cursor that the previous call returned.
        now: The present, with its time zone.
        policy: Delays and bounds.
    """
    requests: list[PartitionRequest] = []
    kept: dict[str, CursorEntry] = {}
    for key, state in sorted(states.items()):
        entry = cursor.get(key)
        needs_a_run = state.retryable_failed > 0 or state.dead_run
        if state.in_flight or (needs_a_run and not _is_due(entry, now, policy)):
            if entry is not None:
                kept[key] = entry
        elif needs_a_run:
            attempt = 1 if entry is None else entry["attempts"] + 1
            requests.append(PartitionRequest(key, attempt, _run_key(key, attempt, state.content)))
            kept[key] = {"attempts": attempt, "requested": now.isoformat()}
    return requests, kept


def _is_due(entry: CursorEntry | None, now: dt.datetime, policy: RequestPolicy) -> bool:
    if entry is None:
        return policy.max_attempts > 0
    attempts = entry["attempts"]
    due = dt.datetime.fromisoformat(entry["requested"]) + policy.delay(attempts)
    return attempts < policy.max_attempts and now >= due


def _run_key(key: str, attempt: int, content: str) -> str:
    return f"{key}#{attempt}#{hashlib.sha256(content.encode()).hexdigest()[:16]}"
