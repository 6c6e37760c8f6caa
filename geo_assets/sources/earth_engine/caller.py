"""Calls to the service: each waits for its turn, is repeated where that helps, and is checked.

The only place that decides when a request is sent. What is asked belongs to ``pixels`` and
``session``; one try is ``transport``; what went wrong is ``faults``.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import stamina

from geo_assets.errors import RETRYABLE, ReadError
from geo_assets.sources.earth_engine.adaptive import AdaptiveLimit
from geo_assets.sources.earth_engine.breaker import Breaker
from geo_assets.sources.earth_engine.faults import OutageFault, TransientFault, raise_for
from geo_assets.sources.earth_engine.machine_limits import MachineRate, MachineSlots
from geo_assets.sources.earth_engine.retry_budget import RetryBudget
from geo_assets.sources.earth_engine.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from geo_assets.sources.earth_engine.adaptive import Passage
    from geo_assets.sources.earth_engine.breaker import Ticket
    from geo_assets.sources.earth_engine.policy import RequestPolicy
    from geo_assets.sources.earth_engine.transport import Reply, Transport

T = TypeVar("T")

# stamina writes a line for each retry, to standard output where structlog is installed: thousands
# in a large run, none of them to act on. How often was asked again is in ``Traffic``, and the
# breaker warns when the service fails. Its hooks are those of the whole process.
stamina.instrumentation.set_on_retry_hooks(())


class Caller:
    """Asks one service by the rules of one policy, from many threads.

    Args:
        transport: Connections to the service.
        policy: How much, how often, how patiently.
        machine: Folder of the limits shared by all processes of this machine
            (``machine_limits.limits_folder``); None: this process shares with nobody.
    """

    def __init__(self, transport: Transport, policy: RequestPolicy, machine: Path | None) -> None:
        self._transport = transport
        self._policy = policy
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        if machine is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix="geo-assets-limits-")
            machine = Path(self._own_folder.name)
        self._slots = MachineSlots(machine, policy.concurrency)
        self._rate = MachineRate(machine, policy.requests_per_second, policy.burst)
        self._limit = AdaptiveLimit(policy.concurrency)
        self._breaker = Breaker(
            failures=policy.breaker_failures,
            rest_s=policy.breaker_rest_s,
            patience_s=policy.outage_patience_s,
            clock=time.monotonic,
        )
        self._budget = RetryBudget(share=policy.retry_share, floor=policy.retry_floor)
        self._counting = threading.Lock()
        self._requests = self._first_requests = self._retries = self._throttled = 0

    def call(
        self, method: str, path: str, body: bytes | None = None, *, check: Callable[[bytes], T]
    ) -> T:
        """Ask until there is an answer that passes its check, and return what the check returns.

        Args:
            method: ``GET`` or ``POST``.
            path: Path from the service's address.
            body: JSON to send.
            check: Makes of the answer's bytes what is wanted; a ReadError of kind
                ``invalid_payload`` has it asked again.

        Raises:
            ReadError: The last answer's fault; ``kind`` says whether a later run may ask again.
            CredentialsError: The service does not accept who asks.
        """
        # Before any slot: a forked child would give back those of its parent.
        self._transport.require_own_process()
        again = _Repetition(self._policy, self._budget)
        for attempt in stamina.retry_context(
            on=again.wait_after, attempts=self._policy.attempts, timeout=None
        ):
            with attempt:
                again.number = attempt.num
                if attempt.num == 1:
                    self._budget.earn()
                self._count(first=attempt.num == 1)
                return self._ask(method, path, body, check, again)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        check: Callable[[bytes], T],
        again: _Repetition,
    ) -> T:
        """Ask once, when it is this call's turn."""
        while True:
            with self._breaker.entered() as ticket:
                self._rate.rest()
                reply = None
                with self._limit.held() as passage, self._slots.held():
                    # If the service failed or asked for a pause while this call queued, it is not
                    # the moment to ask; and who waits for that holds no slot.
                    if self._breaker.holds(ticket) and self._rate.wait():
                        reply = self._send(
                            method, path, body, ticket=ticket, passage=passage, again=again
                        )
                if reply is not None:
                    return self._checked(reply, check, ticket, passage)

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        ticket: Ticket,
        passage: Passage,
        again: _Repetition,
    ) -> Reply:
        """Send, and return a reply that is a success."""
        began = time.monotonic()
        self._sent()
        try:
            reply = self._transport.send(method, path, body)
            self._sent(reply.sent - 1)
            raise_for(reply)
        except ReadError as fault:
            # Before the slot is free: whoever gets it next must know of the pause.
            self._learn(fault, ticket, passage)
            raise
        finally:
            again.spent += time.monotonic() - began
        return reply

    def _checked(
        self, reply: Reply, check: Callable[[bytes], T], ticket: Ticket, passage: Passage
    ) -> T:
        try:
            answer = check(reply.body)
        except ReadError as fault:
            self._learn(fault, ticket, passage)
            raise
        self._breaker.lives()
        self._limit.succeeded()
        return answer

    def _learn(self, fault: ReadError, ticket: Ticket, passage: Passage) -> None:
        """Tell rate, limit and breaker what went wrong."""
        throttled = False
        if isinstance(fault, TransientFault):
            throttled = fault.throttled
            if fault.retry_after_s is not None:
                self._rate.pause(fault.retry_after_s)
        if throttled:
            self._limit.throttled(passage)
            self._refused()
        if throttled or fault.kind not in RETRYABLE:
            self._breaker.lives()
        else:
            self._breaker.fails(ticket)

    def stats(self) -> Traffic:
        """Return what was sent so far."""
        with self._counting:
            return Traffic(
                requests=self._requests,
                first_requests=self._first_requests,
                retries=self._retries,
                throttled=self._throttled,
                in_flight=self._limit.in_flight,
                limit=self._limit.current,
                breaker_state=self._breaker.state,
            )

    def close(self) -> None:
        """Close all connections and files; no call may be under way."""
        self._transport.close()
        self._slots.close()
        self._rate.close()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def _count(self, *, first: bool) -> None:
        with self._counting:
            self._first_requests += first
            self._retries += not first

    def _sent(self, requests: int = 1) -> None:
        with self._counting:
            self._requests += requests

    def _refused(self) -> None:
        with self._counting:
            self._throttled += 1


class _Repetition:
    """Decides for one call whether and when it is repeated."""

    def __init__(self, policy: RequestPolicy, budget: RetryBudget) -> None:
        self._policy = policy
        self._budget = budget
        self.number = 1
        """The try under way."""
        self.spent = 0.0
        """Seconds that requests and waits have taken so far."""

    def wait_after(self, fault: Exception) -> bool | float:
        """Return the seconds to wait before the next try; False to leave it.

        Full jitter: anywhere from 0 to a bound that doubles with each try, and not before
        Retry-After. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        policy = self._policy
        if not isinstance(fault, ReadError) or fault.kind not in RETRYABLE:
            return False
        # Asked after the last try too.
        if isinstance(fault, OutageFault) or self.number >= policy.attempts:
            return False
        bound = min(policy.wait_max_s, policy.wait_initial_s * 2 ** (self.number - 1))
        wait = random.uniform(0, bound)  # noqa: S311  # no secret
        if isinstance(fault, TransientFault) and fault.retry_after_s is not None:
            wait += fault.retry_after_s
        if self.spent + wait > policy.total_s or not self._budget.spend():
            return False
        self.spent += wait
        return wait
