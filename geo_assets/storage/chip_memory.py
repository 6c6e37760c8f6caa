"""What a partition knows of its chips when a run begins: catalog, stamps and dead runs' journals.

Only facts are gathered here; what follows from them is decided in ``core/convergence.py``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.core.convergence import KnownChip
from geo_assets.storage.atomic import sha256_of
from geo_assets.storage.catalog import read_rows
from geo_assets.storage.chip_stamps import RecordedStamp, read_stamps, stamp_of
from geo_assets.storage.journal import JournalRecord, pending_journals, read_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets.core.chips import ChipFormat, ChipOutcome, ChipSpec
    from geo_assets.core.convergence import FileStamp
    from geo_assets.storage.chip_paths import ChipPaths


@dataclass
class Remembered:
    """One chip as earlier runs left it."""

    recipe: str
    outcome: ChipOutcome
    href: str | None
    stamp: FileStamp | None

    def known(self, chip_id: str) -> KnownChip:
        """Return what the plan needs to know."""
        return KnownChip(chip_id, self.outcome.status, self.recipe, self.href, self.stamp)


def remember(
    paths: ChipPaths, wanted: Sequence[ChipSpec], chip_format: ChipFormat
) -> dict[str, Remembered]:
    """Return what is known of a partition's chips, by id: the catalog and, after it, dead runs.

    An ``ok`` of a dead run counts when its file has the checksum that its journal states. A file
    of the catalog whose time is not the recorded one (results that were copied, a lost state
    folder) is hashed: the same content needs no asking, and must not be lost to a source that
    happens to be away.
    """
    memory = _from_catalog(paths)
    recipes = {spec.chip_id: spec.recipe for spec in wanted}
    records: defaultdict[str, list[JournalRecord]] = defaultdict(list)
    for journal in pending_journals(paths.journals):
        for record in read_journal(journal):
            if recipes.get(record.chip_id) == record.recipe:
                records[record.chip_id].append(record)
    for chip_id, candidates in records.items():
        latest = max(candidates, key=lambda record: record.outcome.attempts)
        before = memory.get(chip_id)
        # A run that died between its publication and the end leaves nothing new.
        if (
            before is not None
            and before.recipe == latest.recipe
            and before.outcome.attempts >= latest.outcome.attempts
        ):
            continue
        href = paths.href(f"{chip_id}.{chip_format}") if latest.outcome.status == "ok" else None
        memory[chip_id] = Remembered(
            recipe=latest.recipe,
            outcome=latest.outcome,
            href=href,
            stamp=_stamp_if_unchanged(paths, href, latest.outcome),
        )
    return memory


def _from_catalog(paths: ChipPaths) -> dict[str, Remembered]:
    if not paths.catalog.exists():
        return {}
    stamps = read_stamps(paths.stamps)
    memory = {}
    for row in read_rows(paths.catalog):
        stamp = _stamp_if_unchanged(paths, row.href, row.outcome, stamps.get(row.spec.chip_id))
        memory[row.spec.chip_id] = Remembered(row.spec.recipe, row.outcome, row.href, stamp)
    return memory


def _stamp_if_unchanged(
    paths: ChipPaths,
    href: str | None,
    outcome: ChipOutcome,
    recorded: RecordedStamp | None = None,
) -> FileStamp | None:
    """Return a file's stamp when it holds what was published, None when it is gone or another."""
    if href is None:
        return None
    file = paths.file(href)
    stamp = stamp_of(file)
    if stamp is None or stamp.size != outcome.size:
        return None
    if recorded == RecordedStamp(outcome.sha256 or "", stamp):
        return stamp
    return stamp if sha256_of(file) == outcome.sha256 else None


def stamps_of(memory: dict[str, Remembered]) -> dict[str, RecordedStamp]:
    """Return the stamps to record for what is remembered as ``ok``."""
    return {
        chip_id: RecordedStamp(chip.outcome.sha256, chip.stamp)
        for chip_id, chip in memory.items()
        if chip.stamp is not None and chip.outcome.sha256 is not None
    }
