"""The decision of the new-scenes sensor: which partitions to request, and when again.

Pure, so that it can be tested as a table; the sensor gathers the states, calls
``partitions_with_new_scenes`` and keeps the cursor.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from geo_assets.core.run_requests import CursorEntry, PartitionRequest

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Mapping

    from geo_assets.core.run_requests import RequestPolicy

SceneKey = tuple[int, str]
"""An AOI cluster and the id of a scene that is used for it."""

Ended = Literal["well", "badly", "unknown"]


@dataclass(frozen=True)
class SceneState:
    """How one partition stands at this moment."""

    new: frozenset[SceneKey]
    """Scenes that were seen and are not yet used."""
    in_flight: bool
    """A run of the partition is queued or running."""
    last_run: Ended = "unknown"
    """How the run ended that was requested last, if one was."""
    unread: frozenset[SceneKey] = frozenset()
    """Scenes that are used, but of which some pixels could not be read."""

    @property
    def wanting(self) -> frozenset[SceneKey]:
        """Scenes that a run has something to do about."""
        return self.new | self.unread


class SceneCursor(CursorEntry):
    """What the cursor remembers of one partition; plain JSON."""

    digest: str
    """Of the new scenes that were requested; of those that were not read, where none was new."""
    run_key: str
    """Of the latest request. It holds the time: scenes that were withdrawn and come back, or a
    cursor that was reset, are reasons to run again, and Dagster never runs a run key twice."""


def partitions_with_new_scenes(
    states: Mapping[str, SceneState],
    cursor: Mapping[str, SceneCursor],
    now: dt.datetime,
    policy: RequestPolicy,
) -> tuple[list[PartitionRequest], dict[str, SceneCursor]]:
    """Return the partitions to request now, in order of their keys, and the cursor to keep.

    Each set of new scenes is requested once, at once, and so are scenes that were not read in full
    where nothing was requested before. Where a run ended badly, or well without having read all
    pixels, or nothing is known of it and the scenes are still new, it is requested again with a
    growing delay, a bounded number of times, even if other pixels failed this time. While a run is
    in flight nothing is decided.

    Args:
        states: Every partition's state, by partition key.
        cursor: The cursor that the previous call returned.
        now: The present, with its time zone.
        policy: Delays and bounds.
    """
    requests: list[PartitionRequest] = []
    kept: dict[str, SceneCursor] = {}
    for key, state in sorted(states.items()):
        entry = cursor.get(key)
        digest = digest_of(state.new) if state.new else None
        if digest is None and entry is None and state.unread:
            digest = digest_of(state.unread)
        if state.in_flight:
            attempt = 0
        elif digest is not None and (entry is None or entry["digest"] != digest):
            attempt, entry = 1, SceneCursor(digest=digest, run_key="", attempts=0, requested="")
        elif entry is not None and _is_lost(state) and policy.is_due(entry, now):
            attempt = entry["attempts"] + 1
        else:
            attempt = 0
            # Used up by a run, or withdrawn by the source, or a person has mended after the last
            # attempt what had failed: what comes next starts afresh.
            tries = entry is not None and entry["attempts"] < policy.max_attempts
            entry = entry if state.wanting or (tries and state.last_run == "badly") else None
        if entry is None:
            continue
        if attempt:
            digest, at = entry["digest"], now.isoformat()
            run_key = f"{key}#{digest}#{attempt}#{at}"
            entry = SceneCursor(digest=digest, run_key=run_key, attempts=attempt, requested=at)
            requests.append(PartitionRequest(key, attempt, run_key))
        kept[key] = entry
    return requests, kept


def digest_of(scenes: Collection[SceneKey]) -> str:
    """Return a name of a set of scenes, whatever their order: 16 hexadecimal digits."""
    text = json.dumps(sorted(scenes), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_lost(state: SceneState) -> bool:
    """Whether what was requested did not come about: a run may fail after it noted the scenes."""
    if state.last_run == "badly" or state.unread:
        return True
    return state.last_run == "unknown" and bool(state.new)
