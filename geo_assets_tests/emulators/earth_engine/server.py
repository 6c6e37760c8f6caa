"""The loopback Earth Engine as a server: slots, quotas, faults and the ledger around a service.

    with EarthEngineEmulator(assets) as emulator:
        ee.Initialize(credentials=None, project=emulator.project, url=emulator.url)

Simplified: one project, no authentication; time quotas count calls of every kind alike; a
request is in flight from when it was read to when its answer leaves.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from geo_assets_tests.emulators.earth_engine import service_errors
from geo_assets_tests.emulators.earth_engine.admin import answer_admin
from geo_assets_tests.emulators.earth_engine.assets import Assets
from geo_assets_tests.emulators.earth_engine.damage import altered, send_damaged
from geo_assets_tests.emulators.earth_engine.discovery import discovery_document
from geo_assets_tests.emulators.earth_engine.faults import FaultPlan
from geo_assets_tests.emulators.earth_engine.http_connections import HttpServer, Reply
from geo_assets_tests.emulators.earth_engine.ledger import Entry, Ledger
from geo_assets_tests.emulators.earth_engine.quota import Rate, SlidingWindow, Slots
from geo_assets_tests.emulators.earth_engine.service import Service
from geo_assets_tests.emulators.earth_engine.service_errors import ServiceError

if TYPE_CHECKING:
    from types import TracebackType

    from geo_assets_tests.emulators.earth_engine.canned import LatticePixels, StaticPixels
    from geo_assets_tests.emulators.earth_engine.faults import FaultKind
    from geo_assets_tests.emulators.earth_engine.http_connections import Connection, Request
    from geo_assets_tests.emulators.earth_engine.service import Call

_LOG = logging.getLogger(__name__)


class EarthEngineEmulator:
    """A server on 127.0.0.1 while its context lasts; every setting may change meanwhile.

    Args:
        assets: What it offers; None: nothing.
        canned: Pixels to give instead of the expression's.
        latency_s: Time that each call of the service takes at least, its slot held.
        cap: Requests at once; more are refused (429).
        rate: Requests in a stretch of time; more are refused (429).
        faults: What goes wrong.
        free_slots_late: Free a slot after its answer has left rather than just before: a client
            at exactly the cap then meets refusals.
        port: To listen on; 0: a free one.
    """

    def __init__(
        self,
        assets: Assets | None = None,
        *,
        canned: StaticPixels | LatticePixels | None = None,
        latency_s: float = 0,
        cap: int = 40,
        rate: Rate | None = None,
        faults: FaultPlan | None = None,
        free_slots_late: bool = False,
        port: int = 0,
    ) -> None:
        self.service = Service(Assets() if assets is None else assets, canned)
        self.latency_s = latency_s
        self.slots = Slots(cap)
        self.window = SlidingWindow(rate)
        self.faults = faults or FaultPlan()
        self.free_slots_late = free_slots_late
        self.ledger = Ledger()
        self.breakages: list[str] = []
        """Faults of the emulator itself, which a test wants to be none."""
        self.project = "test-project"
        self._http = HttpServer(self._respond, port)
        self._discovery = b""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.port}"

    @property
    def max_in_flight(self) -> int:
        """Most requests of the service at once; one refused above the cap counts, no more."""
        return self.slots.max_in_flight

    def __enter__(self) -> Self:
        """Listen."""
        self._http.start()
        self._discovery = discovery_document(self.url)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every connection and every thread."""
        self._http.stop()

    def _respond(self, request: Request, connection: Connection) -> None:
        if request.path.startswith("/_emulator/"):
            connection.send(answer_admin(self, request))
        elif request.path == "/$discovery/rest":
            connection.send(Reply(200, self._discovery))
        elif request.path == "/catalog_deprecated.json":
            connection.send(Reply(200, b'{"links":[]}'))
        else:
            self._call(request, connection)

    def _call(self, request: Request, connection: Connection) -> None:
        try:
            call = self.service.understand(request)
        except ServiceError as error:
            self.ledger.call("refused")
            connection.send(_error(error))
            return
        self.ledger.call(call.kind)
        slot = _Slot(self.slots)
        try:
            self._attend(request, connection, call, slot)
        finally:
            slot.release()

    def _attend(self, request: Request, connection: Connection, call: Call, slot: _Slot) -> None:
        entry = self._enter(request, call, slot)
        exchange = _Exchange(connection, slot, entry, self.faults)
        plan = exchange.plan
        fault: FaultKind | None = None
        try:
            self._admit(slot)
            if call.pixels or plan.scope == "all":
                fault = entry.fault = plan.pick(call.key, entry.attempt)
            if self.latency_s:
                connection.stopping.wait(self.latency_s)
            reply = self._reply(call, fault, exchange)
        except ServiceError as error:
            fault = None
            reply = _error(error)
            entry.retry_after_s = error.retry_after_s
        except Exception as error:
            fault = None
            _LOG.exception("%s %s", request.method, request.path)
            broken = f"{type(error).__name__}: {error}"
            self.breakages.append(broken)
            reply = _error(replace(service_errors.INTERNAL, message=f"Emulator broke: {broken}"))
        self._answer(exchange, reply, fault)

    def _reply(self, call: Call, fault: FaultKind | None, exchange: _Exchange) -> Reply:
        if fault is None:
            return self.service.answer(call)
        error = exchange.plan.error(fault)
        if error is not None:
            raise error
        return altered(self.service.answer(call), fault, exchange.plan, exchange.entry)

    def _enter(self, request: Request, call: Call, slot: _Slot) -> Entry:
        if call.pixels:
            return self.ledger.arrive(call.key, request.method, request.path, slot.in_flight)
        attempt = self.ledger.attempt(call.key)
        now = self.ledger.clock()
        return Entry(call.key, attempt, request.method, request.path, now, slot.in_flight)

    def _admit(self, slot: _Slot) -> None:
        if not slot.admitted:
            raise service_errors.TOO_MANY_REQUESTS
        if self.window.admit() is not None:
            raise service_errors.RATE_QUOTA

    def _answer(self, exchange: _Exchange, reply: Reply, fault: FaultKind | None) -> None:
        connection, entry = exchange.connection, exchange.entry
        entry.answered_s = self.ledger.clock()
        release = _nothing if self.free_slots_late else exchange.slot.release
        if fault is not None:
            entry.status = 0
            if send_damaged(connection, reply, fault, exchange.plan, release):
                return
        entry.status, entry.sent = reply.status, len(reply.body)
        release()
        connection.send(reply)


class _Slot:
    """One request's place among those in flight, given back once."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.admitted, self.in_flight = slots.enter()
        self._held = self.admitted
        self._lock = threading.Lock()

    def release(self) -> None:
        with self._lock:
            held, self._held = self._held, False
        if held:
            self._slots.leave()


@dataclass(frozen=True)
class _Exchange:
    """One request under way, with the faults that were planned as it came."""

    connection: Connection
    slot: _Slot
    entry: Entry
    plan: FaultPlan


def _nothing() -> None:
    """Leave the slot for later."""


def _error(error: ServiceError) -> Reply:
    return Reply(error.code, error.body(), headers=error.headers())
