"""Which request fails, and how: drawn from a seed, or written down chip by chip.

A draw depends on the seed, the chip and the try alone, so that threads arriving in another
order meet the same faults. What a fault does on the wire is in ``damage``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, get_args

from geo_assets_tests.emulators.earth_engine import service_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geo_assets_tests.emulators.earth_engine.service_errors import ServiceError


class FaultKind(StrEnum):
    """One way for a request to go wrong."""

    THROTTLED = "429"
    THROTTLED_RETRY_AFTER = "429_retry_after"
    INTERNAL = "500"
    UNAVAILABLE = "503"
    QUOTA = "403_quota"
    PERMISSION = "403_permission"
    MEMORY_LIMIT = "400_memory_limit"
    TIMED_OUT = "400_timed_out"
    UNAUTHENTICATED = "401"
    RESET = "reset"
    TRUNCATED = "truncated"
    HTML = "html"
    EMPTY = "empty"
    HANG = "hang"
    TRICKLE = "trickle"
    FLIPPED_HEADER = "flipped_header"
    FLIPPED_PIXEL = "flipped_pixel"


ERRORS: dict[FaultKind, ServiceError] = {
    FaultKind.THROTTLED: service_errors.TOO_MANY_REQUESTS,
    FaultKind.THROTTLED_RETRY_AFTER: service_errors.TOO_MANY_REQUESTS,
    FaultKind.INTERNAL: service_errors.INTERNAL,
    FaultKind.UNAVAILABLE: service_errors.UNAVAILABLE,
    FaultKind.QUOTA: service_errors.QUOTA_FORBIDDEN,
    FaultKind.PERMISSION: service_errors.PERMISSION_FORBIDDEN,
    FaultKind.MEMORY_LIMIT: service_errors.MEMORY_LIMIT,
    FaultKind.TIMED_OUT: service_errors.TIMED_OUT,
    FaultKind.UNAUTHENTICATED: service_errors.UNAUTHENTICATED,
}
"""Kinds that are an honest error answer; the others are damage."""

PERMANENT = frozenset({FaultKind.PERMISSION, FaultKind.MEMORY_LIMIT, FaultKind.TIMED_OUT})
"""Kinds that asking again does not cure."""

RUN_ENDING = frozenset({FaultKind.UNAUTHENTICATED})
"""Kinds that concern every chip."""

SLOW = frozenset({FaultKind.HANG, FaultKind.TRICKLE})
"""Kinds that cost a client its timeout."""

CHIP_FAULTS = tuple(kind for kind in FaultKind if kind not in RUN_ENDING)
"""Kinds that concern one request at a time."""

Tries = Literal["first", "all", "every"]
Scope = Literal["pixels", "all"]


@dataclass
class FaultPlan:
    """What goes wrong.

    A chip, or with ``tries="every"`` a request, is chosen with probability ``share``; its kind
    is drawn from ``kinds``. A chip that stands in ``script`` follows its script alone: one kind
    (or None) a try, and none after the last.
    """

    share: float = 0.0
    kinds: Sequence[FaultKind] = CHIP_FAULTS
    tries: Tries = "first"
    """``first``: only the first request of a chosen chip; ``all``: all its requests, with the
    same kind; ``every``: each request is drawn for itself."""
    seed: int = 0
    script: Mapping[str, Sequence[FaultKind | None]] = field(default_factory=dict)
    scope: Scope = "pixels"
    """``all``: requests of values, tables, assets and thumbnail names too."""
    retry_after_s: float = 1.0
    hang_s: float = 60.0
    """Longest time that a request hangs; it ends sooner when the client leaves."""
    trickle_s: float = 20.0
    """Time over which a trickling answer is spread."""

    def __post_init__(self) -> None:
        """Check what may come from a command line or a request."""
        self.kinds = tuple(FaultKind(kind) for kind in self.kinds)
        self.script = {
            key: tuple(None if kind is None else FaultKind(kind) for kind in kinds)
            for key, kinds in self.script.items()
        }
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: {self.share} is not within 0 and 1")
        if self.share and not self.kinds:
            raise ValueError("kinds: none, but share is above 0")
        for name, allowed in (("tries", get_args(Tries)), ("scope", get_args(Scope))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: {getattr(self, name)!r} is none of {allowed}")

    def pick(self, key: str, attempt: int) -> FaultKind | None:
        """Return the fault of the ``attempt``-th request (from 0) of a chip."""
        if key in self.script:
            script = self.script[key]
            return script[attempt] if attempt < len(script) else None
        if not self.share or (self.tries == "first" and attempt):
            return None
        draw = key if self.tries != "every" else f"{key}#{attempt}"
        if fraction(self.seed, "chosen", draw) >= self.share:
            return None
        return self.kinds[int(fraction(self.seed, "kind", draw) * len(self.kinds))]

    def error(self, kind: FaultKind) -> ServiceError | None:
        """Return the error answer of a kind, None for damage."""
        error = ERRORS.get(kind)
        if error is not None and kind is FaultKind.THROTTLED_RETRY_AFTER:
            return error.with_retry_after(self.retry_after_s)
        return error

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FaultPlan:
        """Build a plan of JSON; errors name the field."""
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"{sorted(unknown)}: not among {sorted(cls.__dataclass_fields__)}")
        return cls(**fields)


def fraction(seed: int, *parts: str) -> float:
    """Return a number in [0, 1) that depends on the arguments alone."""
    text = "\x00".join((str(seed), *parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest()) / 2**56
