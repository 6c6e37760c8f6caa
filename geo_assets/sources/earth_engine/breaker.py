"""The circuit breaker: a service that fails again and again is left alone, then probed by one.

Nygard, Release It! (2007). Throttling counts as an answer of a living service: it is the adaptive
limit's affair. While the breaker is open, requests wait; once the outage has lasted longer than
the patience they fail at once, all but the probes.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.sources.earth_engine.faults import OutageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from geo_assets.sources.earth_engine.traffic import BreakerState


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Ticket:
    """Leave to ask, given by the breaker."""

    period: int
    """How often the breaker had opened or closed."""


class Breaker:
    """Opens after ``failures`` straight failures and closes on a success.

    Between two probes lie ``rest_s`` seconds.
    """

    def __init__(
        self, *, failures: int, rest_s: float, patience_s: float, clock: Callable[[], float]
    ) -> None:
        self._most = failures
        self._rest_s = rest_s
        self._patience_s = patience_s
        self._clock = clock
        self._condition = threading.Condition()
        self._failures = 0
        self._failing_since = 0.0
        self._closed = True
        self._period = 0
        self._probe: Ticket | None = None
        self._probe_at = 0.0

    @property
    def state(self) -> BreakerState:
        """State now."""
        with self._condition:
            if self._closed:
                return "closed"
            return "open" if self._probe is None else "half-open"

    @contextmanager
    def entered(self) -> Iterator[Ticket]:
        """Wait for a ticket: at once, or as the probe, or when the service lives again.

        What the request taught is told to ``lives`` or ``fails`` before leaving; if neither,
        nothing was learnt, and another may probe.

        Raises:
            OutageFault: If the outage outlasts the patience.
        """
        ticket = Ticket(self._period)
        try:
            with self._condition:
                while not self._closed:
                    now = self._clock()
                    if self._probe is None and now >= self._probe_at:
                        self._probe = ticket
                        break
                    self._condition.wait(self._next_look(now) - now)
                else:
                    ticket = Ticket(self._period)
            yield ticket
        finally:
            with self._condition:
                if self._probe is ticket:
                    self._probe = None
                    self._condition.notify_all()

    def holds(self, ticket: Ticket) -> bool:
        """Whether a ticket is still good: the breaker has not opened since it was given."""
        return ticket is self._probe or (self._closed and ticket.period == self._period)

    def lives(self) -> None:
        """The service answered: close."""
        with self._condition:
            self._failures = 0
            if not self._closed:
                self._closed = True
                self._period += 1
                _LOG.warning("Earth Engine answers again")
                self._condition.notify_all()

    def fails(self, ticket: Ticket) -> None:
        """The service or the way to it failed."""
        with self._condition:
            now = self._clock()
            if self._closed and ticket.period == self._period:
                if not self._failures:
                    self._failing_since = now
                self._failures += 1
                if self._failures >= self._most:
                    self._closed = False
                    self._period += 1
                    self._probe_at = now + self._rest_s
                    _LOG.warning(
                        "Earth Engine failed %d times in a row; it is asked again by one request "
                        "every %g s",
                        self._failures,
                        self._rest_s,
                    )
            elif ticket is self._probe:
                self._probe_at = now + self._rest_s

    def _next_look(self, now: float) -> float:
        gives_up = self._failing_since + self._patience_s
        if now >= gives_up:
            raise OutageFault(
                f"Earth Engine has failed for {now - self._failing_since:.0f} s; "
                "not asked again before it answers a probe"
            )
        return gives_up if self._probe is not None else min(gives_up, self._probe_at)
