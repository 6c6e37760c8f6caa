"""The retry budget of a run: a service that fails is not asked many times more for it."""

from __future__ import annotations

import threading


class RetryBudget:
    """Retries that all requests of a run share: ``floor + share * first requests``."""

    def __init__(self, *, share: float, floor: int) -> None:
        self._share = share
        self._floor = floor
        self._lock = threading.Lock()
        self._first = 0
        self._spent = 0

    def earn(self) -> None:
        """Count a first request."""
        with self._lock:
            self._first += 1

    def spend(self) -> bool:
        """Take one retry; False if none is left."""
        with self._lock:
            if self._spent + 1 > self._floor + self._share * self._first:
                return False
            self._spent += 1
            return True
