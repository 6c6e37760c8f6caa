"""The rules that requests follow: how many at once, how often, how patiently; with their bounds."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import isfinite

from geo_assets.errors import SourceError

MAX_CONCURRENCY = 40
"""Requests in flight that the service allows a project, standard and high-volume alike."""
MAX_REQUESTS_PER_SECOND = 100.0
"""Requests a second that the service allows a project (6,000 a minute)."""


@dataclass(frozen=True)
class Timeouts:
    """How long one request may take, in seconds."""

    connect_s: float = 10.0
    """Until the connection stands."""
    read_s: float = 60.0
    """Between two pieces of the answer, the first included."""
    total_s: float = 180.0
    """For the whole answer, so that a trickle ends too."""

    def __post_init__(self) -> None:
        for name in ("connect_s", "read_s", "total_s"):
            _check(self, name, 0.001, 3600.0)


@dataclass(frozen=True)
class RequestPolicy:
    """How requests are sent and repeated."""

    attempts: int = 6
    """Tries for one call, the first included."""
    total_s: float = 300.0
    """Seconds that one call may spend on requests and waits between them; queueing for a slot or
    for the end of an outage is not counted."""
    wait_initial_s: float = 0.5
    """Upper end of the first random wait; it doubles with each try."""
    wait_max_s: float = 30.0
    """Upper end of any random wait."""
    retry_share: float = 0.4
    """Retries that each first request adds to the budget of all calls."""
    retry_floor: int = 10
    """Retries that the budget begins with."""
    breaker_failures: int = 10
    """Straight failures that open the breaker."""
    breaker_rest_s: float = 10.0
    """Seconds an open breaker leaves the server alone before one request probes it."""
    outage_patience_s: float = 120.0
    """Seconds without a success that calls wait for; then they fail at once until a probe
    succeeds."""
    concurrency: int = 38
    """Requests in flight. Below the service's 40: it may count a reply as in flight for a moment
    after the client has it."""
    requests_per_second: float | None = 90.0
    """Requests started a second, below the service's 100; None: as many as come."""
    burst: int = 10
    """Requests that may start at once after a pause."""
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        _check(self, "attempts", 1, 100)
        _check(self, "total_s", 0.001, 86_400.0)
        _check(self, "wait_initial_s", 0.0, 3600.0)
        _check(self, "wait_max_s", self.wait_initial_s, 3600.0)
        _check(self, "retry_share", 0.0, 10.0)
        _check(self, "retry_floor", 0, 100_000)
        _check(self, "breaker_failures", 1, 1000)
        _check(self, "breaker_rest_s", 0.001, 3600.0)
        _check(self, "outage_patience_s", 0.0, 86_400.0)
        _check(self, "concurrency", 1, MAX_CONCURRENCY)
        _check(self, "burst", 1, 100)
        if self.requests_per_second is not None:
            _check(self, "requests_per_second", 0.001, MAX_REQUESTS_PER_SECOND)


def _check(owner: object, name: str, low: float, high: float) -> None:
    value = getattr(owner, name)
    kind = next(entry.type for entry in fields(owner) if entry.name == name)  # type: ignore[arg-type]  # always a dataclass
    whole = kind == "int"
    allowed = (int,) if whole else (int, float)
    if (
        isinstance(value, bool)
        or not isinstance(value, allowed)
        or not isfinite(value)
        or not low <= value <= high
    ):
        what = "a whole number" if whole else "a number"
        raise SourceError(
            f"{type(owner).__name__}.{name} is {value!r}; "
            f"allowed is {what} from {low:g} to {high:g}"
        )
