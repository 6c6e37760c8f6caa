"""What the service allows at once and in a stretch of time, counted exactly.

Simplified: one project and one user, so that both quotas are one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Slots:
    """Requests in flight: arrivals above ``cap`` are refused."""

    cap: int
    in_flight: int = 0
    max_in_flight: int = 0
    """Most requests that were there at once, the refused ones included."""
    refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def enter(self) -> tuple[bool, int]:
        """Take a slot; return whether it was free and the number in flight with this one."""
        with self._lock:
            present = self.in_flight + 1
            self.max_in_flight = max(self.max_in_flight, present)
            if present > self.cap:
                self.refused += 1
                return False, present
            self.in_flight = present
            return True, present

    def leave(self) -> None:
        """Give a slot back."""
        with self._lock:
            self.in_flight -= 1

    def reset(self) -> None:
        """Forget what was counted, but not what is in flight."""
        with self._lock:
            self.max_in_flight = self.in_flight
            self.refused = 0


@dataclass(frozen=True)
class Rate:
    """At most ``requests`` in any ``window_s`` seconds."""

    requests: int
    window_s: float


@dataclass
class SlidingWindow:
    """Admits requests while fewer than the rate's were admitted in the window that ends now."""

    rate: Rate | None
    clock: Callable[[], float] = time.monotonic
    refused: int = 0
    _admitted: deque[float] = field(default_factory=deque, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def admit(self) -> float | None:
        """Return None and count the request, or the seconds until one would be admitted."""
        rate = self.rate
        if rate is None:
            return None
        with self._lock:
            now = self.clock()
            while self._admitted and self._admitted[0] <= now - rate.window_s:
                self._admitted.popleft()
            if len(self._admitted) < rate.requests:
                self._admitted.append(now)
                return None
            self.refused += 1
            return self._admitted[-rate.requests] + rate.window_s - now

    def reset(self) -> None:
        """Forget what was refused; what was admitted still counts."""
        with self._lock:
            self.refused = 0
