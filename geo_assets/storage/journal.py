"""The journal of a chip run: outcomes as they happen, outside the published results.

One JSON line an outcome, one file a run. A journal that outlives its run means that the run died:
the next one folds it into the catalog. Lines reach the operating system one by one, so a kill
loses none; after a power cut the last ones may be missing, and their chips are asked again.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from geo_assets.core.chips import ChipOutcome
from geo_assets.errors import StorageError
from geo_assets.storage.checksums import SHA256
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_LOG = logging.getLogger(__name__)
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class JournalRecord:
    """One line of a journal."""

    chip_id: str
    recipe: str
    outcome: ChipOutcome
    href: str | None = None
    """Where its payload lies, relative to the catalog's folder; None unless ``ok``."""


class Journal:
    """The journal of one living run; ``append`` may be called from many threads.

    Args:
        folder: Folder of the partition's journals.
        run_id: Names the file.

    Raises:
        StorageError: The run's id cannot name a file, or the disk is full.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        if not _RUN_ID.fullmatch(run_id):
            raise StorageError(
                f"run id {run_id!r} cannot name a journal; allowed are letters, digits and '_.-'"
            )
        self.path = folder / f"{run_id}.jsonl"
        self._lock = threading.Lock()
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            # Unbuffered: each line is one write.
            self._file = self.path.open("ab", buffering=0)
        # Whatever an earlier life of the same run tore off must not swallow the next line.
        self._at_line_start = os.fstat(self._file.fileno()).st_size == 0

    def append(self, *records: JournalRecord) -> None:
        """Add outcomes; when this returns, a kill cannot lose them."""
        lines = b"".join(map(_line, records))
        with self._lock:
            if not self._at_line_start:
                lines = b"\n" + lines
            self._at_line_start = False
            with writing(self.path):
                written = self._file.write(lines)
            if written != len(lines):
                raise StorageError(f"{self.path}: cannot be written: the disk is full")
            self._at_line_start = True

    def close(self) -> None:
        """Close the file and leave it where it is."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def pending_journals(folder: Path) -> list[Path]:
    """Return the journals in a partition's folder, by name; none where there is no folder."""
    return sorted(folder.glob("*.jsonl"))


def read_journal(path: Path) -> list[JournalRecord]:
    """Return a journal's outcomes in the order they happened.

    A line that was torn by a kill is skipped: its chip is asked again.
    """
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line:
            continue
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError):
            _LOG.warning("journal %s: line %d is torn and skipped", path.name, number)
    return records


def _line(record: JournalRecord) -> bytes:
    # Not ``asdict``, which copies in depth: a run writes a line for each of a million chips.
    fields = {**vars(record), "outcome": vars(record.outcome)}
    return json.dumps(fields, default=_as_iso, separators=(",", ":")).encode() + b"\n"


def _record(fields: dict[str, Any]) -> JournalRecord:
    outcome = dict(fields["outcome"])
    # Of a run that died before checksums told their algorithm.
    if (sha256 := outcome.pop("sha256", None)) is not None:
        outcome["checksum"] = SHA256 + sha256
    outcome["updated"] = dt.datetime.fromisoformat(outcome["updated"])
    return JournalRecord(
        fields["chip_id"], fields["recipe"], ChipOutcome(**outcome), fields.get("href")
    )


def _as_iso(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in a journal")
