"""What was asked and how it was answered: one entry for each request of pixels."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from geo_assets_tests.emulators.earth_engine.faults import FaultKind


@dataclass
class Entry:
    """One request of pixels."""

    key: str
    """The chip's, see ``requests.chip_key``."""
    attempt: int
    """How often this chip had been asked before."""
    method: str
    path: str
    arrived_s: float
    """On the ledger's clock, as every time here."""
    in_flight: int
    """With this one, as it arrived."""
    fault: FaultKind | None = None
    status: int | None = None
    """None until it is answered; 0 where no status line was sent."""
    sent: int = 0
    """Bytes of the body."""
    retry_after_s: float | None = None
    answered_s: float | None = None
    """When the answer began to leave."""


@dataclass(frozen=True)
class Wait:
    """What followed an answer that asked to wait."""

    key: str
    retry_after_s: float
    same_chip_s: float | None
    """From the answer to the chip's next request; None: it was not asked again."""
    any_chip_s: float | None
    """From the answer to the next request of any chip."""


@dataclass
class Ledger:
    """Every request of pixels, and counts of the other calls."""

    clock: Callable[[], float] = time.monotonic
    entries: list[Entry] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """Requests by what they ask for: ``compute``, ``pixels``, ``thumbnail``, …"""
    _attempts: Counter[str] = field(default_factory=Counter, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def arrive(self, key: str, method: str, path: str, in_flight: int) -> Entry:
        """Enter a request of pixels."""
        with self._lock:
            attempt = self._attempts[key]
            self._attempts[key] += 1
            entry = Entry(key, attempt, method, path, self.clock(), in_flight)
            self.entries.append(entry)
            return entry

    def attempt(self, key: str) -> int:
        """Count a request that has no entry; return how often it was made before."""
        with self._lock:
            attempt = self._attempts[key]
            self._attempts[key] += 1
            return attempt

    def call(self, kind: str) -> None:
        """Count a call of any kind."""
        with self._lock:
            self.calls[kind] += 1

    def reset(self) -> None:
        """Start a new page; requests that are being answered stay on the old one."""
        with self._lock:
            self.entries = []
            self.calls = Counter()
            self._attempts = Counter()

    def requests_by_chip(self) -> dict[str, int]:
        """Return how often each chip was asked."""
        return dict(Counter(entry.key for entry in self._copy()))

    def waits(self) -> list[Wait]:
        """Return, for each answer with Retry-After, when requests came again."""
        entries = sorted(self._copy(), key=lambda entry: entry.arrived_s)
        every = [entry.arrived_s for entry in entries]
        of_chip: defaultdict[str, list[float]] = defaultdict(list)
        for entry in entries:
            of_chip[entry.key].append(entry.arrived_s)
        return [
            Wait(
                entry.key,
                entry.retry_after_s,
                _first_after(entry.answered_s, of_chip[entry.key]),
                _first_after(entry.answered_s, every),
            )
            for entry in entries
            if entry.retry_after_s is not None and entry.answered_s is not None
        ]

    def summary(self) -> dict[str, Any]:
        """Return counts in the form of JSON."""
        entries = self._copy()
        waits = self.waits()
        by_chip = Counter(entry.key for entry in entries)
        early = [
            wait
            for wait in waits
            if wait.same_chip_s is not None and wait.same_chip_s < wait.retry_after_s
        ]
        return {
            "requests": len(entries),
            "chips": len(by_chip),
            "most_requests_of_a_chip": max(by_chip.values(), default=0),
            "statuses": dict(Counter(str(entry.status) for entry in entries)),
            "faults": dict(Counter(str(entry.fault) for entry in entries if entry.fault)),
            "bytes": sum(entry.sent for entry in entries),
            "retry_after_answers": len(waits),
            "before_retry_after": len(early),
            "calls": dict(self.calls),
        }

    def _copy(self) -> list[Entry]:
        with self._lock:
            return list(self.entries)


def _first_after(moment_s: float, arrivals_s: list[float]) -> float | None:
    position = bisect_right(arrivals_s, moment_s)
    return arrivals_s[position] - moment_s if position < len(arrivals_s) else None
