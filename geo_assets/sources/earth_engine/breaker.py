"""The circuit breaker: a service that fails again and again is left alone, then probed by one.

Nygard, Release It! (2007). Throttling counts as an answer of a living service: it is the adaptive
limit's affair. While the breaker is open, requests wait; once the outage has lasted longer than
the patience they fail at once, all but the probes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.sources.earth_engine.faults import OutageFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from geo_assets.sources.earth_engine.traffic import BreakerState


@dataclass(frozen=True)
class Ticket:
    """Leave to ask, given by the breaker."""

    period: int
    """How often the breaker had opened or closed."""
    probe: bool
    """Whether this request alone asks whether the service lives."""


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
        self._probing = False
        self._probe_at = 0.0

    @property
    def state(self) -> BreakerState:
        """State now."""
        with self._condition:
            if self._closed:
                return "closed"
            return "half-open" if self._probing else "open"

    def enter(self) -> Ticket:
        """Return a ticket, at once or as the probe or when the service lives again.

        Every ticket must be given back, to ``lives``, ``fails`` or ``abandon``.

        Raises:
            OutageFault: If the outage outlasts the patience.
        """
        with self._condition:
            while not self._closed:
                now = self._clock()
                if not self._probing and now >= self._probe_at:
                    self._probing = True
                    return Ticket(self._period, probe=True)
                gives_up = self._failing_since + self._patience_s
                if now >= gives_up:
                    raise OutageFault(
                        f"Earth Engine has failed for {now - self._failing_since:.0f} s; "
                        "not asked again before it answers a probe"
                    )
                next_look = gives_up if self._probing else min(gives_up, self._probe_at)
                self._condition.wait(next_look - now)
            return Ticket(self._period, probe=False)

    def holds(self, ticket: Ticket) -> bool:
        """Whether a ticket is still good: the breaker has not opened since it was given."""
        return ticket.probe or ticket.period == self._period

    def lives(self, ticket: Ticket) -> None:
        """The service answered: close."""
        with self._condition:
            self._give_back(ticket)
            self._failures = 0
            if not self._closed:
                self._closed = True
                self._period += 1
            self._condition.notify_all()

    def fails(self, ticket: Ticket) -> None:
        """The service or the way to it failed."""
        with self._condition:
            self._give_back(ticket)
            now = self._clock()
            if self._closed and ticket.period == self._period:
                if not self._failures:
                    self._failing_since = now
                self._failures += 1
                if self._failures >= self._most:
                    self._closed = False
                    self._period += 1
                    self._probe_at = now + self._rest_s
            elif ticket.probe and not self._closed:
                self._probe_at = now + self._rest_s
            self._condition.notify_all()

    def abandon(self, ticket: Ticket) -> None:
        """Nothing was learnt, so that another may probe."""
        if ticket.probe:
            with self._condition:
                self._give_back(ticket)
                self._condition.notify_all()

    def _give_back(self, ticket: Ticket) -> None:
        if ticket.probe and ticket.period == self._period:
            self._probing = False
