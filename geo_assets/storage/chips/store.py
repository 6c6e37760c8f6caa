"""The chips of one partition, converging to what is wanted.

The decisions are in ``core/convergence.py``, the formats in ``files.py``, the table in
``catalog.py``; here they meet the disk, in the order that makes a kill at any moment harmless:
file, journal line, stamps, catalog, removal of what is no longer wanted, removal of the journal.
Whether what is stored is still sound is asked in ``verification.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from geo_assets.core.chips import ChipOutcome, ChipPixels, ChipSpec, NoImagery
from geo_assets.core.convergence import plan_chips
from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.atomic import sweep_temporaries_of
from geo_assets.storage.chips.catalog import ChipCollection, write_catalog
from geo_assets.storage.chips.catalog_table import CatalogRow
from geo_assets.storage.chips.files import check_made, check_payload, decode_chip, encode_chip
from geo_assets.storage.chips.flight import ChipFlight, LandedChip, Progress
from geo_assets.storage.chips.folder import ChipFolder
from geo_assets.storage.chips.memory import Remembered, places_of, remember, stamps_of
from geo_assets.storage.chips.messages import publishable
from geo_assets.storage.chips.other_clusters import require_one_form, rows_of_other_clusters
from geo_assets.storage.chips.outcomes import corrupt, no_imagery, utc_now
from geo_assets.storage.chips.reports import ConvergenceReport, report
from geo_assets.storage.chips.stamps import write_stamps
from geo_assets.storage.chips.zarr_metadata import ChipArrays
from geo_assets.storage.chips.zarr_store import ChipZarrStore
from geo_assets.storage.disk_errors import writing
from geo_assets.storage.journal import Journal, JournalRecord, pending_journals
from geo_assets.storage.partition_lock import partition_lock

if TYPE_CHECKING:
    import datetime as dt

    from geo_assets.core.convergence import FileStamp
    from geo_assets.storage.chips.expectation import ChipEncoding
    from geo_assets.storage.chips.paths import ChipPaths
    from geo_assets.storage.chips.shelf import Shelf

Read = Callable[[ChipSpec], ChipPixels | bytes | NoImagery]
"""Gets one chip, from many threads at once: pixels, or a file's bytes as a server sent them, or
the answer that there is nothing. A ``ReadError`` makes the chip ``failed``; anything else that it
raises ends the run."""

Expect = Callable[[Sequence[ChipSpec]], None]
"""Is told which chips will be read, in their order, before the first is."""


@dataclass(frozen=True)
class ChipStore:
    """The chips of one fold and split on the disk."""

    paths: ChipPaths
    encoding: ChipEncoding
    collection: ChipCollection

    def converge(
        self,
        wanted: Sequence[ChipSpec],
        read: Read,
        *,
        run_id: str,
        workers: int = 2,
        clusters: Collection[int] | None = None,
        expect: Expect | None = None,
        progress: Progress | None = None,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> ConvergenceReport:
        """Ask for every wanted chip that has no answer yet, and publish the catalog.

        At most ``workers`` chips are held as pixels at a time. An interrupted run, whether by an
        error or by a kill, leaves its journal, and the next one goes on from there. Chips of
        other ``clusters`` than those named stay as they are, wanted or not; None: there are none.

        Raises:
            LockedError: Another run works on this partition.
            StorageError: A chip or the catalog cannot be written, on a full disk for instance; or
                chips of other clusters are of another encoding.
        """
        with partition_lock(self.paths.lock, run_id=run_id):
            others = rows_of_other_clusters(self.paths, wanted, clusters)
            published = [*wanted, *(row.spec for row in others)]
            shelf = self.shelf(published)
            self._sweep(shelf)
            memory = remember(self.paths, shelf, wanted)
            require_one_form(others, memory, shelf, self.encoding)
            left_alone = {row.spec.chip_id for row in others}
            known = {
                chip_id: chip.known(chip_id)
                for chip_id, chip in memory.items()
                if chip_id not in left_alone
            }
            plan = plan_chips(wanted, known, _stamps_of_kept(memory))
            if plan.ask:
                stays = [*(spec.chip_id for spec in plan.keep), *left_alone]
                keeps = any(memory[chip_id].href is not None for chip_id in stays)
                held = [row.spec for row in others if row.href is not None]
                shelf.prepare([*wanted, *held], places_of(memory), keeps=keeps)
                ask = shelf.in_order(plan.ask)
                if expect is not None:
                    expect(ask)
                with Journal(self.paths.journals, run_id) as journal:
                    ChipFlight(
                        ask,
                        partial(self._ask, read=read, clock=clock, memory=dict(memory)),
                        partial(
                            self._put,
                            shelf=shelf,
                            journal=journal,
                            memory=memory,
                            kept={c.href: c for c in memory.values() if c.stamp is not None},
                        ),
                        shelf.batch,
                        workers,
                        progress,
                    ).run()
            answers = {spec.chip_id: memory[spec.chip_id] for spec in published}
            rows = self._publish(shelf, published, answers, clock)
        kept = len(plan.keep) + len(others)
        return report(rows, asked=len(plan.ask), kept=kept, removed=len(plan.remove))

    def read(self, row: CatalogRow) -> ChipPixels:
        """Return the pixels of an ``ok`` chip of the catalog.

        Raises:
            StorageError: The chip has no payload, or it is gone.
            ReadError: (``invalid_payload``) It is damaged.
        """
        payload = None if row.href is None else self.shelf([row.spec]).read(row.href)
        if payload is None:
            raise StorageError(f"chip {row.spec.chip_id}: its payload is missing")
        return decode_chip(payload, self.encoding.expect(row.spec.geobox))

    def shelf(self, specs: Sequence[ChipSpec]) -> Shelf:
        """Return where the payloads of these chips lie."""
        if self.encoding.format != "zarr":
            return ChipFolder(self.paths, self.encoding.format)
        bands, dtype = self.encoding.bands, self.encoding.dtype
        shapes = [spec.geobox.shape for spec in specs[:1]]
        arrays = [ChipArrays(bands, dtype, int(rows), int(columns)) for rows, columns in shapes]
        return ChipZarrStore(self.paths, arrays[0] if arrays else None)

    def _sweep(self, shelf: Shelf) -> None:
        shelf.sweep()
        sweep_temporaries_of(self.paths.catalog)
        sweep_temporaries_of(self.paths.stamps)

    def _ask(
        self,
        spec: ChipSpec,
        *,
        read: Read,
        clock: Callable[[], dt.datetime],
        memory: Mapping[str, Remembered],
    ) -> LandedChip:
        """Get one chip and make it ready to be put: encoded, checked and hashed."""
        before = memory.get(spec.chip_id)
        asked_before = before.outcome.attempts if before and before.recipe == spec.recipe else 0
        payload = None
        try:
            found, payload = self._get(spec, read(spec), clock)
        except ReadError as error:
            found = ChipOutcome(
                status="failed",
                attempts=0,
                updated=clock(),
                error_kind=error.kind,
                error=publishable(str(error)),
            )
        return LandedChip(spec, replace(found, attempts=asked_before + 1), payload)

    def _put(
        self,
        batch: Sequence[LandedChip],
        *,
        shelf: Shelf,
        journal: Journal,
        memory: dict[str, Remembered],
        kept: dict[str | None, Remembered],
    ) -> None:
        """Make a batch of chips last: payloads first, then their lines in the journal.

        Args:
            batch: Chips as they were answered.
            shelf: Takes their payloads.
            journal: Takes their outcomes.
            memory: Takes both, by chip id.
            kept: Chips whose payload is known to be sound, by href; takes those of the batch.
        """
        payloads = {chip.spec.chip_id: chip.payload for chip in batch if chip.payload is not None}
        hrefs, stamps = shelf.put(payloads, kept.__contains__) if payloads else ({}, {})
        for href in stamps.keys() & kept.keys():
            kept[href].stamp = stamps[href]
        records = [
            JournalRecord(
                each.spec.chip_id, each.spec.recipe, each.outcome, hrefs.get(each.spec.chip_id)
            )
            for each in batch
        ]
        journal.append(*records)
        for record in records:
            stamp = None if record.href is None else stamps[record.href]
            chip = Remembered(record.recipe, record.outcome, record.href, stamp)
            memory[record.chip_id] = chip
            if stamp is not None:
                kept[record.href] = chip

    def _get(
        self,
        spec: ChipSpec,
        answer: ChipPixels | bytes | NoImagery,
        clock: Callable[[], dt.datetime],
    ) -> tuple[ChipOutcome, bytes | None]:
        if isinstance(answer, NoImagery):
            return no_imagery(answer.reason, clock), None
        if isinstance(answer, ChipPixels) and not answer.valid.any():
            return no_imagery("nothing but no-data", clock), None
        if isinstance(answer, bytes):
            payload = answer
            chip = check_payload(payload, self.encoding.expect(spec.geobox))
            if chip.valid_fraction == 0:
                return no_imagery("nothing but no-data", clock), None
        else:
            payload = encode_chip(answer, spec, self.encoding)
            chip = check_made(payload, answer, spec, self.encoding)
        outcome = ChipOutcome(
            status="ok",
            attempts=0,
            updated=clock(),
            size=chip.size,
            checksum=chip.checksum,
            valid_fraction=chip.valid_fraction,
            label_fraction=chip.label_fraction,
        )
        return outcome, payload

    def _publish(
        self,
        shelf: Shelf,
        wanted: Sequence[ChipSpec],
        answers: dict[str, Remembered],
        clock: Callable[[], dt.datetime],
    ) -> list[CatalogRow]:
        on_disk = shelf.stamps(chip.href for chip in answers.values() if chip.href is not None)
        for chip in answers.values():
            if chip.href is None:
                continue
            if chip.stamp is None:  # of another cluster, else it would have been asked
                chip.outcome = corrupt(chip.outcome, "is gone or another", clock)
                chip.href = None
            elif on_disk.get(chip.href) != chip.stamp:
                chip.outcome = corrupt(chip.outcome, "changed during the run", clock)
                chip.href = chip.stamp = None
        rows = [
            CatalogRow(spec, answers[spec.chip_id].outcome, answers[spec.chip_id].href)
            for spec in wanted
        ]
        with writing(self.paths.catalog):
            write_stamps(self.paths.stamps, stamps_of(answers))
            write_catalog(self.paths.catalog, rows, self.collection)
        with writing(self.paths.chips):
            if shelf.settle(rows):
                stamps = shelf.stamps(row.href for row in rows if row.href is not None)
                for chip in answers.values():
                    if chip.href is not None:
                        chip.stamp = stamps.get(chip.href)
                write_stamps(self.paths.stamps, stamps_of(answers))
        for journal in pending_journals(self.paths.journals):
            journal.unlink()
        return rows


def _stamps_of_kept(memory: Mapping[str, Remembered]) -> dict[str, FileStamp]:
    return {
        chip.href: chip.stamp
        for chip in memory.values()
        if chip.href is not None and chip.stamp is not None
    }
