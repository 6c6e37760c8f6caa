"""How many requests of this process may be in flight, as the server's refusals teach.

Additive increase, multiplicative decrease (Chiu & Jain 1989), as TCP does it: a refusal halves the
limit, at most once per round trip; as many successes as the limit raise it by one.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, eq=False)
class Passage:
    """A request that the gate let pass."""

    age: int
    """How often the limit had been halved when it did."""


class AdaptiveLimit:
    """A gate for at most ``current`` requests at once, between 1 and ``maximum``."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._condition = threading.Condition()
        self._current = maximum
        self._successes = 0
        self._halvings = 0
        self._inside: set[Passage] = set()

    @property
    def current(self) -> int:
        """Requests that may be in flight now."""
        return self._current

    @property
    def in_flight(self) -> int:
        """Requests that the gate has let pass and that have not come back."""
        return len(self._inside)

    @contextmanager
    def held(self) -> Iterator[Passage]:
        """Wait for a place and hold it."""
        passage = Passage(self._halvings)
        try:
            with self._condition:
                self._condition.wait_for(lambda: len(self._inside) < self._current)
                passage = Passage(self._halvings)
                self._inside.add(passage)
            yield passage
        finally:
            with self._condition:
                self._inside.discard(passage)
                # Also by who was interrupted while waiting: the call to pass may have been its own.
                self._condition.notify()

    def succeeded(self) -> None:
        """Count a success."""
        with self._condition:
            self._successes += 1
            if self._successes >= self._current:
                self._successes = 0
                if self._current < self._maximum:
                    self._current += 1
                    self._condition.notify()

    def throttled(self, passage: Passage) -> None:
        """Halve the limit, unless that was done since the request went out.

        Refusals of requests that were already on their way say nothing about the new limit.
        """
        with self._condition:
            if passage.age == self._halvings:
                self._halvings += 1
                self._successes = 0
                self._current = max(self._current // 2, 1)
