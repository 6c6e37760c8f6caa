"""The chips of one partition: converging to what is wanted, and proving what is stored.

The decisions are in ``core/convergence.py``, the formats in ``chip_files.py``, the table in
``catalog.py``; here they meet the disk, in the order that makes a kill at any moment harmless:
file, journal line, stamps, catalog, removal of what is no longer wanted, removal of the journal.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from geo_assets.core.chips import CHIP_FORMATS, ChipOutcome, ChipPixels, ChipSpec, NoImagery
from geo_assets.core.convergence import FileStamp, plan_chips
from geo_assets.errors import ReadError
from geo_assets.storage.atomic import publish_bytes, sweep_temporaries, sweep_temporaries_of
from geo_assets.storage.catalog import CatalogRow, ChipCollection, read_rows, write_catalog
from geo_assets.storage.chip_files import check_payload, encode_chip, label_fraction
from geo_assets.storage.chip_flight import Progress, in_bounded_flight
from geo_assets.storage.chip_memory import Remembered, remember, stamps_of
from geo_assets.storage.chip_messages import publishable
from geo_assets.storage.chip_reports import (
    ChipFailure,
    ConvergenceReport,
    VerifyReport,
    report,
)
from geo_assets.storage.chip_stamps import RecordedStamp, read_stamps, stamp_of, write_stamps
from geo_assets.storage.disk_errors import writing
from geo_assets.storage.journal import Journal, JournalRecord, pending_journals, read_journal
from geo_assets.storage.partition_lock import partition_lock

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.storage.chip_expectation import ChipEncoding
    from geo_assets.storage.chip_paths import ChipPaths

Read = Callable[[ChipSpec], ChipPixels | bytes | NoImagery]
"""Gets one chip, from many threads at once: pixels, or a file's bytes as a server sent them, or
the answer that there is nothing. A ``ReadError`` makes the chip ``failed``; anything else that it
raises ends the run."""


def utc_now() -> dt.datetime:
    """Return the present in UTC."""
    return dt.datetime.now(dt.UTC)


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
        progress: Progress | None = None,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> ConvergenceReport:
        """Ask for every wanted chip that has no answer yet, and publish the catalog.

        At most ``workers`` chips are held as pixels at a time. An interrupted run, whether by an
        error or by a kill, leaves its journal, and the next one goes on from there.

        Raises:
            LockedError: Another run works on this partition.
            StorageError: A chip or the catalog cannot be written, on a full disk for instance.
        """
        with partition_lock(self.paths.lock, run_id=run_id):
            self._sweep()
            memory = remember(self.paths, wanted, self.encoding.format)
            known = {chip_id: chip.known(chip_id) for chip_id, chip in memory.items()}
            plan = plan_chips(wanted, known, self._on_disk())
            if plan.ask:
                with Journal(self.paths.journals, run_id) as journal:
                    ask = partial(self._ask, read=read, clock=clock, journal=journal, memory=memory)
                    memory |= in_bounded_flight(plan.ask, ask, workers, progress)
            answers = {spec.chip_id: memory[spec.chip_id] for spec in wanted}
            rows = self._publish(wanted, answers, clock)
        return report(rows, asked=len(plan.ask), kept=len(plan.keep), removed=len(plan.remove))

    def verify(
        self, *, run_id: str = "verify", clock: Callable[[], dt.datetime] = utc_now
    ) -> VerifyReport:
        """Re-read and re-hash every ``ok`` chip; mark the damaged ones for the next run.

        A damaged chip becomes ``failed`` with error kind ``corrupt``.

        Raises:
            LockedError: A run works on this partition.
        """
        with partition_lock(self.paths.lock, run_id=run_id):
            if not self.paths.catalog.exists():
                return VerifyReport(checked=0, corrupt=())
            rows = read_rows(self.paths.catalog)
            unpublished = self._unpublished_checksums()
            stamps = read_stamps(self.paths.stamps)
            corrupt: list[ChipFailure] = []
            for position, row in enumerate(rows):
                if row.href is None:
                    continue
                chip_id = row.spec.chip_id
                stamp, sha256, damage = self._examine(row)
                if damage is None and stamp is not None and sha256 is not None:
                    stamps[chip_id] = RecordedStamp(sha256, stamp)
                elif damage is not None and (chip_id, sha256) not in unpublished:
                    corrupt.append(ChipFailure(chip_id, "corrupt", damage))
                    rows[position] = CatalogRow(
                        row.spec, _corrupt(row.outcome, damage, clock), None
                    )
            checked = sum(row.href is not None for row in rows) + len(corrupt)
            with writing(self.paths.catalog):
                write_stamps(self.paths.stamps, stamps)
                if corrupt:
                    write_catalog(self.paths.catalog, rows, self.collection)
        return VerifyReport(checked=checked, corrupt=tuple(corrupt))

    def _sweep(self) -> None:
        sweep_temporaries(self.paths.chips)
        sweep_temporaries_of(self.paths.catalog)
        sweep_temporaries_of(self.paths.stamps)

    def _file(self, spec: ChipSpec) -> Path:
        return self.paths.chips / f"{spec.chip_id}.{self.encoding.format}"

    def _on_disk(self) -> dict[str, FileStamp]:
        """Return the chip files of this format that exist now, by href."""
        files = self.paths.chips.glob(f"*.{self.encoding.format}")
        stamps = ((file, stamp_of(file)) for file in files)
        return {self.paths.href(file.name): stamp for file, stamp in stamps if stamp is not None}

    def _ask(
        self,
        spec: ChipSpec,
        *,
        read: Read,
        clock: Callable[[], dt.datetime],
        journal: Journal,
        memory: Mapping[str, Remembered],
    ) -> Remembered:
        before = memory.get(spec.chip_id)
        asked_before = before.outcome.attempts if before and before.recipe == spec.recipe else 0
        try:
            found = self._get(spec, read(spec), clock)
        except ReadError as error:
            found = ChipOutcome(
                status="failed",
                attempts=0,
                updated=clock(),
                error_kind=error.kind,
                error=publishable(str(error)),
            )
        outcome = replace(found, attempts=asked_before + 1)
        journal.append(JournalRecord(spec.chip_id, spec.recipe, outcome))
        if outcome.status != "ok":
            return Remembered(spec.recipe, outcome, href=None, stamp=None)
        file = self._file(spec)
        return Remembered(spec.recipe, outcome, self.paths.href(file.name), stamp_of(file))

    def _get(
        self,
        spec: ChipSpec,
        answer: ChipPixels | bytes | NoImagery,
        clock: Callable[[], dt.datetime],
    ) -> ChipOutcome:
        if isinstance(answer, NoImagery):
            return _no_imagery(answer.reason, clock)
        pixels = answer if isinstance(answer, ChipPixels) else None
        if pixels is not None and not pixels.valid.any():
            return _no_imagery("nothing but no-data", clock)
        payload = answer if isinstance(answer, bytes) else encode_chip(answer, spec, self.encoding)
        chip = check_payload(payload, self.encoding.expect(spec.geobox))
        if pixels is None and chip.valid_fraction == 0:
            return _no_imagery("nothing but no-data", clock)
        with writing(self._file(spec)):
            publish_bytes(self._file(spec), payload)
        outcome = ChipOutcome(
            status="ok",
            attempts=0,
            updated=clock(),
            size=chip.size,
            sha256=chip.sha256,
            valid_fraction=chip.valid_fraction,
            label_fraction=chip.label_fraction,
        )
        if pixels is None:
            return outcome
        # Formats without a mask or a label band cannot say what the pixels themselves know.
        return replace(
            outcome,
            valid_fraction=float(pixels.valid.mean()),
            label_fraction=label_fraction(pixels.data[-1]) if self.encoding.label_band else None,
        )

    def _publish(
        self,
        wanted: Sequence[ChipSpec],
        answers: dict[str, Remembered],
        clock: Callable[[], dt.datetime],
    ) -> list[CatalogRow]:
        on_disk = self._on_disk()
        for chip in answers.values():
            if chip.href is not None and on_disk.get(chip.href) != chip.stamp:
                chip.outcome = _corrupt(chip.outcome, "changed during the run", clock)
                chip.href = chip.stamp = None
        rows = [
            CatalogRow(spec, answers[spec.chip_id].outcome, answers[spec.chip_id].href)
            for spec in wanted
        ]
        with writing(self.paths.catalog):
            write_stamps(self.paths.stamps, stamps_of(answers))
            write_catalog(self.paths.catalog, rows, self.collection)
        published = {self.paths.file(row.href) for row in rows if row.href is not None}
        for chip_format in CHIP_FORMATS:
            for file in self.paths.chips.glob(f"*.{chip_format}"):
                if file not in published:
                    file.unlink()
        for journal in pending_journals(self.paths.journals):
            journal.unlink()
        return rows

    def _unpublished_checksums(self) -> set[tuple[str, str | None]]:
        """Return chips that a dead run has already replaced; the next run will publish them."""
        return {
            (record.chip_id, record.outcome.sha256)
            for journal in pending_journals(self.paths.journals)
            for record in read_journal(journal)
            if record.outcome.status == "ok"
        }

    def _examine(self, row: CatalogRow) -> tuple[FileStamp | None, str | None, str | None]:
        """Return a file's stamp, its checksum and what is wrong with it, if anything is."""
        file = self._file(row.spec)
        stamp = stamp_of(file)
        if stamp is None:
            return None, None, "its file is missing"
        payload = file.read_bytes()
        sha256 = hashlib.sha256(payload).hexdigest()
        if len(payload) != row.outcome.size:
            return stamp, sha256, f"its file has {len(payload)} bytes instead of {row.outcome.size}"
        if sha256 != row.outcome.sha256:
            return stamp, sha256, "its file has another checksum"
        try:
            check_payload(payload, self.encoding.expect(row.spec.geobox))
        except ReadError as error:
            return stamp, sha256, publishable(str(error))
        return stamp, sha256, None


def _no_imagery(reason: str, clock: Callable[[], dt.datetime]) -> ChipOutcome:
    return ChipOutcome(
        status="no_imagery",
        attempts=0,
        updated=clock(),
        valid_fraction=0.0,
        error=publishable(reason),
    )


def _corrupt(outcome: ChipOutcome, damage: str, clock: Callable[[], dt.datetime]) -> ChipOutcome:
    return ChipOutcome(
        status="failed",
        attempts=outcome.attempts,
        updated=clock(),
        error_kind="corrupt",
        error=damage,
    )
