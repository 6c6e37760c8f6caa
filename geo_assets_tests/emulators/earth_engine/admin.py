"""The paths below ``/_emulator/``: reading the ledger and changing settings from elsewhere."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from geo_assets_tests.emulators.earth_engine.faults import FaultPlan
from geo_assets_tests.emulators.earth_engine.http_connections import Reply
from geo_assets_tests.emulators.earth_engine.quota import Rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from geo_assets_tests.emulators.earth_engine.http_connections import Request
    from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator


def answer_admin(emulator: EarthEngineEmulator, request: Request) -> Reply:
    """Answer a request to read or to change something.

    - ``GET ledger`` (summary), ``GET requests`` (by chip), ``GET waits``, ``DELETE ledger``
    - ``PUT faults`` (the fields of ``FaultPlan``; ``{}``: none)
    - ``PUT settings`` (any of cap, rate ``{requests, window_s}`` or null, latency_s,
      free_slots_late)
    """
    what = f"{request.method} {request.path.removeprefix('/_emulator/')}"
    if what not in _ACTIONS:
        return _json({"error": f"{what}: none of {sorted(_ACTIONS)}"}, 404)
    try:
        return _json(_ACTIONS[what](emulator, json.loads(request.body or b"{}")))
    except (ValueError, TypeError) as error:
        return _json({"error": str(error)}, 400)


def _summary(emulator: EarthEngineEmulator, _fields: dict[str, Any]) -> dict[str, Any]:
    return emulator.ledger.summary() | {
        "cap": emulator.slots.cap,
        "in_flight": emulator.slots.in_flight,
        "max_in_flight": emulator.slots.max_in_flight,
        "refused_by_cap": emulator.slots.refused,
        "refused_by_rate": emulator.window.refused,
    }


def _requests(emulator: EarthEngineEmulator, _fields: dict[str, Any]) -> dict[str, int]:
    return emulator.ledger.requests_by_chip()


def _waits(emulator: EarthEngineEmulator, _fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(wait) for wait in emulator.ledger.waits()]


def _reset(emulator: EarthEngineEmulator, _fields: dict[str, Any]) -> None:
    for counted in (emulator.ledger, emulator.slots, emulator.window):
        counted.reset()


def _set_faults(emulator: EarthEngineEmulator, fields: dict[str, Any]) -> None:
    emulator.faults = FaultPlan.from_dict(fields)


def _set_settings(emulator: EarthEngineEmulator, fields: dict[str, Any]) -> None:
    allowed = {"cap", "rate", "latency_s", "free_slots_late"}
    if set(fields) - allowed:
        raise ValueError(f"{sorted(set(fields) - allowed)}: not among {sorted(allowed)}")
    if "cap" in fields:
        emulator.slots.cap = int(fields["cap"])
    if "rate" in fields:
        emulator.window.rate = None if fields["rate"] is None else Rate(**fields["rate"])
    if "latency_s" in fields:
        emulator.latency_s = float(fields["latency_s"])
    if "free_slots_late" in fields:
        emulator.free_slots_late = bool(fields["free_slots_late"])


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode())


_ACTIONS: dict[str, Callable[[EarthEngineEmulator, dict[str, Any]], Any]] = {
    "GET ledger": _summary,
    "GET requests": _requests,
    "GET waits": _waits,
    "DELETE ledger": _reset,
    "PUT faults": _set_faults,
    "PUT settings": _set_settings,
}
