"""The decision of the failed-chips sensor: which partitions to request again, and when.

Pure, so that it can be tested as a table; the sensor is a thin shell that gathers the states,
calls ``partitions_to_request`` and keeps the cursor.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.core.run_requests import PartitionRequest

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from geo_assets.core.run_requests import CursorEntry, RequestPolicy


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
        if state.in_flight or (needs_a_run and not policy.is_due(entry, now)):
            if entry is not None:
                kept[key] = entry
        elif needs_a_run:
            attempt = 1 if entry is None else entry["attempts"] + 1
            requests.append(PartitionRequest(key, attempt, _run_key(key, attempt, state.content)))
            kept[key] = {"attempts": attempt, "requested": now.isoformat()}
    return requests, kept


def _run_key(key: str, attempt: int, content: str) -> str:
    return f"{key}#{attempt}#{hashlib.sha256(content.encode()).hexdigest()[:16]}"
