"""What a partition knows of its chips when a run begins: catalog, stamps and dead runs' journals.

Only facts are gathered here; what follows from them is decided in ``core/convergence.py``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.core.convergence import KnownChip
from geo_assets.storage.checksums import agrees
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.stamps import RecordedStamp, read_stamps
from geo_assets.storage.journal import JournalRecord, pending_journals, read_journal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geo_assets.core.chips import ChipOutcome, ChipSpec
    from geo_assets.core.convergence import FileStamp
    from geo_assets.storage.chips.paths import ChipPaths
    from geo_assets.storage.chips.shelf import Shelf


@dataclass
class Remembered:
    """One chip as earlier runs left it."""

    recipe: str
    outcome: ChipOutcome
    href: str | None
    stamp: FileStamp | None
    published: str | None = None
    """Where the published catalog says that it lies, whatever a dead run made of it."""

    def known(self, chip_id: str) -> KnownChip:
        """Return what the plan needs to know."""
        return KnownChip(chip_id, self.outcome.status, self.recipe, self.href, self.stamp)


def remember(paths: ChipPaths, shelf: Shelf, wanted: Sequence[ChipSpec]) -> dict[str, Remembered]:
    """Return what is known of a partition's chips, by id: the catalog and, after it, dead runs.

    An ``ok`` of a dead run counts when its payload has the checksum that its journal states. One
    of the catalog whose stamp is not the recorded one (results that were copied, a lost state
    folder, a Zarr shard whose other chips were replaced) is hashed: the same content needs no
    asking, and must not be lost to a source that happens to be away.
    """
    memory = _from_catalog(paths, shelf)
    recipes = {spec.chip_id: spec.recipe for spec in wanted}
    records: defaultdict[str, list[JournalRecord]] = defaultdict(list)
    for journal in pending_journals(paths.journals):
        for record in read_journal(journal):
            if recipes.get(record.chip_id) == record.recipe:
                records[record.chip_id].append(record)
    latest: dict[str, JournalRecord] = {}
    for chip_id, candidates in records.items():
        record = max(candidates, key=lambda record: record.outcome.attempts)
        before = memory.get(chip_id)
        # A run that died between its publication and the end leaves nothing new.
        if (
            before is None
            or before.recipe != record.recipe
            or before.outcome.attempts < record.outcome.attempts
        ):
            latest[chip_id] = record
    stamps = shelf.stamps(record.href for record in latest.values() if record.href is not None)
    for chip_id, record in latest.items():
        stamp = _stamp_if_unchanged(shelf, record.href, record.outcome, stamps)
        published = memory[chip_id].published if chip_id in memory else None
        memory[chip_id] = Remembered(record.recipe, record.outcome, record.href, stamp, published)
    _ask_for_twins(memory)
    return memory


def _ask_for_twins(memory: Mapping[str, Remembered]) -> None:
    """Believe one chip alone of those that claim one place, though their pixels be equal."""
    owners: dict[str | None, str] = {}
    for chip_id, chip in memory.items():
        if chip.stamp is not None and owners.setdefault(chip.href, chip_id) != chip_id:
            chip.stamp = None


def _from_catalog(paths: ChipPaths, shelf: Shelf) -> dict[str, Remembered]:
    if not paths.catalog.exists():
        return {}
    recorded = read_stamps(paths.stamps)
    rows = read_rows(paths.catalog)
    stamps = shelf.stamps(row.href for row in rows if row.href is not None)
    memory = {}
    for row in rows:
        chip_id = row.spec.chip_id
        stamp = _stamp_if_unchanged(shelf, row.href, row.outcome, stamps, recorded.get(chip_id))
        memory[chip_id] = Remembered(row.spec.recipe, row.outcome, row.href, stamp, row.href)
    return memory


def _stamp_if_unchanged(
    shelf: Shelf,
    href: str | None,
    outcome: ChipOutcome,
    stamps: Mapping[str, FileStamp],
    recorded: RecordedStamp | None = None,
) -> FileStamp | None:
    """Return a payload's stamp when it is what was published, None when it is gone or another."""
    stamp = None if href is None else stamps.get(href)
    if href is None or stamp is None:
        return None
    if recorded == RecordedStamp(outcome.checksum or "", stamp):
        return stamp
    payload = shelf.read(href)
    if payload is None or len(payload) != outcome.size:
        return None
    return stamp if agrees(payload, outcome.checksum) else None


def places_of(memory: Mapping[str, Remembered]) -> list[tuple[str, str]]:
    """Return ids and hrefs of chips, of sound ones first; then those that the catalog names."""
    sound_first = sorted(memory.items(), key=lambda known: known[1].stamp is None)
    claims = [(chip_id, chip.href) for chip_id, chip in sound_first]
    claims += [(chip_id, chip.published) for chip_id, chip in memory.items()]
    return [(chip_id, href) for chip_id, href in claims if href is not None]


def stamps_of(memory: dict[str, Remembered]) -> dict[str, RecordedStamp]:
    """Return the stamps to record for what is remembered as ``ok``."""
    return {
        chip_id: RecordedStamp(chip.outcome.checksum, chip.stamp)
        for chip_id, chip in memory.items()
        if chip.stamp is not None and chip.outcome.checksum is not None
    }
