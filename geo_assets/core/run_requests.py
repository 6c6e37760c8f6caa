"""What the decisions of the sensors have in common: requests, their cursor, and patience.

Pure; which partitions are requested is decided in ``redownload`` and ``new_scenes``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TypedDict


class CursorEntry(TypedDict):
    """What the cursor remembers of one partition; plain JSON."""

    attempts: int
    requested: str
    """Time of the latest request, ISO 8601 with its zone."""


@dataclass(frozen=True)
class PartitionRequest:
    """One partition to run."""

    key: str
    attempt: int
    """Counted from 1 since there was a reason to request it."""
    run_key: str
    """Names partition, reason and attempt: Dagster never runs the same run key twice."""


@dataclass(frozen=True)
class RequestPolicy:
    """How patient a sensor is."""

    first_delay: dt.timedelta = dt.timedelta(minutes=5)
    """Between the first request, which comes at once, and the second."""
    growth: float = 3.0
    """Factor from each delay to the next, at least 1."""
    max_attempts: int = 5
    """Requests for one partition until it recovers."""

    def delay(self, attempts: int) -> dt.timedelta:
        """Return how long to wait after the request number ``attempts``, counted from 1."""
        return self.first_delay * self.growth ** (attempts - 1)

    def is_due(self, entry: CursorEntry | None, now: dt.datetime) -> bool:
        """Whether a partition may be requested now; without an entry it never was."""
        if entry is None:
            return self.max_attempts > 0
        attempts = entry["attempts"]
        due = dt.datetime.fromisoformat(entry["requested"]) + self.delay(attempts)
        return attempts < self.max_attempts and now >= due
