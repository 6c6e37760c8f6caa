"""What a chip run and a verification have to say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets.storage.chips.catalog_table import CatalogRow

_ERRORS_SHOWN = 5


@dataclass(frozen=True)
class ChipFailure:
    """A chip without an answer, and why."""

    chip_id: str
    kind: str | None
    reason: str


@dataclass(frozen=True)
class ConvergenceReport:
    """What a run found and did."""

    ok: int
    no_imagery: int
    failed: int
    asked: int
    """Chips that were asked for in this run."""
    kept: int
    """Chips that were left alone: their answer still holds."""
    removed: int
    """Chips that left the grid."""
    bytes: int
    """Size of all ``ok`` chips of the partition."""
    errors: tuple[ChipFailure, ...]
    """The first few failed chips."""


@dataclass(frozen=True)
class VerifyReport:
    """What re-reading every chip found."""

    checked: int
    corrupt: tuple[ChipFailure, ...]


def report(rows: Sequence[CatalogRow], *, asked: int, kept: int, removed: int) -> ConvergenceReport:
    """Return the report of a run whose published rows these are."""
    statuses = Counter(row.outcome.status for row in rows)
    failures = (
        ChipFailure(row.spec.chip_id, row.outcome.error_kind, row.outcome.error or "")
        for row in rows
        if row.outcome.status == "failed"
    )
    return ConvergenceReport(
        ok=statuses["ok"],
        no_imagery=statuses["no_imagery"],
        failed=statuses["failed"],
        asked=asked,
        kept=kept,
        removed=removed,
        bytes=sum(row.outcome.size or 0 for row in rows),
        errors=tuple(islice(failures, _ERRORS_SHOWN)),
    )
