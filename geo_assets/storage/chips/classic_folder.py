"""A folder of numbered chips, as the older scripts name them, and the table that explains it.

    {domain}/{fold}/{split}/{domain}_{split}_imgs_00042.tif      the chips
    {domain}/{fold}/{campaign}.{split}.csv                       which chip is which: the index

The index says which files are ours, so several campaigns and older downloads may share a folder.
It lies there only while it is true: it is taken away before a file changes, and comes back last.
Meanwhile a hidden record beside it holds what is ours, for the run after a kill.
Which chips there are is decided in ``commands/export.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import (
    publish_bytes,
    publish_json,
    sha256_of,
    sweep_temporaries,
    sweep_temporaries_of,
)
from geo_assets.storage.chips.index import IndexRow, encode_index, read_index
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

_SHOWN = 5


@dataclass(frozen=True)
class NumberedChip:
    """A chip under its number."""

    source: Path
    """The published chip."""
    row: IndexRow


@dataclass(frozen=True)
class ExportPlan:
    """What an export will do to a folder."""

    copied: tuple[NumberedChip, ...]
    kept: int
    removed: tuple[str, ...]
    """Files of earlier exports that are no longer wanted, relative to the folder of the index."""
    index: bytes
    ours: Mapping[str, frozenset[str]]
    """Checksums that our files have had, or will have, by name."""

    @property
    def bytes_copied(self) -> int:
        """Bytes of the chips that will be copied."""
        return sum(chip.row.size for chip in self.copied)


@dataclass(frozen=True)
class ClassicFolder:
    """The chips of one campaign, fold and split below a folder of exports."""

    parent: Path
    """``{domain}/{fold}``."""
    domain: str
    split: str
    campaign: str

    @property
    def folder(self) -> Path:
        """Where the chips lie."""
        return self.parent / self.split

    @property
    def index(self) -> Path:
        """The table of chips: beside their folder, whose listing older scripts take as it is."""
        return self.parent / f"{self.campaign}.{self.split}.csv"

    @property
    def unfinished(self) -> Path:
        """Record of an export that has begun: what is ours before and after it."""
        return self.parent / f".{self.campaign}.{self.split}.unfinished.json"

    def file(self, number: int, suffix: str) -> str:
        """Return a chip's name, relative to the folder of the index."""
        return f"{self.split}/{self.domain}_{self.split}_imgs_{number:05d}{suffix}"

    def plan(self, wanted: Sequence[NumberedChip]) -> ExportPlan:
        """Compare what is wanted with what lies here, reading the files but writing none.

        Raises:
            StorageError: A file that is not ours lies at a wanted name, or at that of the index;
                or a published chip is gone or of another size.
        """
        ours, others = self._ours(), self._others()
        copied: list[NumberedChip] = []
        strangers = []
        for chip in wanted:
            path = self.parent / chip.row.file
            content = _content(path)
            if content == (chip.row.size, chip.row.sha256):
                continue
            copied.append(chip)
            # Where ours was removed, another campaign may have taken its name.
            anothers = self._is_of(others, chip.row.file)
            if (anothers or chip.row.file not in ours) and (path.exists() or path.is_symlink()):
                strangers.append(path)
        if strangers:
            more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
            raise StorageError(
                f"{', '.join(map(str, strangers[:_SHOWN]))}{more}: not of an earlier export of "
                f"{self.campaign!r}, so nothing was written; choose a --start-index beyond them, "
                "or another folder"
            )
        for chip in copied:
            _require_size(chip)
        names = {chip.row.file for chip in wanted}
        return ExportPlan(
            copied=tuple(copied),
            kept=len(wanted) - len(copied),
            removed=tuple(
                file
                for file in sorted(set(ours) - names)
                if (self.parent / file).exists() and not self._is_of(others, file)
            ),
            index=encode_index([chip.row for chip in wanted]),
            ours=ours
            | {c.row.file: ours.get(c.row.file, frozenset()) | {c.row.sha256} for c in wanted},
        )

    def publish(self, plan: ExportPlan, progress: Callable[[], None] = lambda: None) -> list[str]:
        """Do what was planned; a second time it does nothing.

        A kill at any moment leaves whole files, no index, and a record that the next export
        goes on from.

        Args:
            plan: Made just before, see ``plan``.
            progress: Called after each copy.

        Returns:
            Names of files that were to be removed and stay, because somebody has changed them.

        Raises:
            StorageError: A published chip is not what its catalog says, or a file cannot be
                written.
        """
        changed = []
        with writing(self.parent):
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep_temporaries_of(self.index)
            if plan.copied or plan.removed:
                if self.unfinished.exists():
                    sweep_temporaries(self.folder)
                publish_json(self.unfinished, {file: sorted(s) for file, s in plan.ours.items()})
                self.index.unlink(missing_ok=True)
            for chip in plan.copied:
                publish_bytes(self.parent / chip.row.file, _checked(chip))
                progress()
            others = self._others()  # who may have come since the plan was made
            for file in plan.removed:
                path = self.parent / file
                content = _content(path)
                if self._is_of(others, file):
                    continue
                if content is not None and content[1] in plan.ours[file]:
                    path.unlink()
                else:
                    changed.append(file)
            if not self.index.exists() or self.index.read_bytes() != plan.index:
                publish_bytes(self.index, plan.index)
            self.unfinished.unlink(missing_ok=True)
        return changed

    def _ours(self) -> dict[str, frozenset[str]]:
        """Return the checksums that our files have or were about to get, by name."""
        ours: dict[str, frozenset[str]] = {}
        if self.index.exists():
            ours = {file: frozenset({sha256}) for file, sha256 in read_index(self.index).items()}
        for file, checksums in _record_of(self.unfinished).items():
            ours[file] = ours.get(file, frozenset()) | frozenset(checksums)
        # Nothing outside of the folder of chips is ours, whatever somebody wrote into the index.
        folder = PurePosixPath(self.split)
        return {file: known for file, known in ours.items() if PurePosixPath(file).parent == folder}

    def _others(self) -> dict[str, set[str]]:
        """Return the checksums of each file that is other campaigns', by name.

        Their tables say so; of one whose export has begun and not ended, the record of that.
        """
        others: defaultdict[str, set[str]] = defaultdict(set)
        for unfinished in self.parent.glob(f".*.{self.split}.unfinished.json"):
            if unfinished != self.unfinished:
                for file, checksums in _record_of(unfinished).items():
                    others[file].update(checksums)
        for index in self.parent.glob(f"*.{self.split}.csv"):
            if index != self.index:
                # A table that is no index says of no file whose it is.
                with suppress(StorageError):
                    for file, sha256 in read_index(index).items():
                        others[file].add(sha256)
        return dict(others)

    def _is_of(self, others: Mapping[str, AbstractSet[str]], file: str) -> bool:
        """Whether a file is as the table of another campaign lists it; ours may be equal."""
        content = _content(self.parent / file) if file in others else None
        return content is not None and content[1] in others[file]


def _record_of(unfinished: Path) -> dict[str, list[str]]:
    """Return the checksums of each file of an export that has begun; of none if it is not there."""
    try:
        files: dict[str, list[str]] = json.loads(unfinished.read_bytes())
    except (FileNotFoundError, NotADirectoryError):  # it has ended meanwhile, or none has begun
        return {}
    except (OSError, ValueError) as error:
        raise StorageError(f"{unfinished}: no readable record: {error}") from error
    return files


def _content(path: Path) -> tuple[int, str] | None:
    """Size and SHA-256 of a regular file; None where none lies."""
    if path.is_symlink() or not path.is_file():
        return None
    return path.stat().st_size, sha256_of(path)


def _require_size(chip: NumberedChip) -> None:
    """Find out what a look at the folder tells, before anything is changed."""
    try:
        size = chip.source.stat().st_size
    except OSError as error:
        raise _damaged(chip, f"its file cannot be read: {error.strerror}") from error
    if size != chip.row.size:
        raise _damaged(chip, f"its file has {size} bytes instead of {chip.row.size}")


def _checked(chip: NumberedChip) -> bytes:
    """Read a published chip, which must be what its catalog says."""
    _require_size(chip)
    payload = chip.source.read_bytes()
    if hashlib.sha256(payload).hexdigest() != chip.row.sha256:
        raise _damaged(chip, "its file has another checksum")
    return payload


def _damaged(chip: NumberedChip, what: str) -> StorageError:
    return StorageError(
        f"{chip.row.fold}|{chip.row.split} {chip.row.chip_id}: {what}; run geo-assets verify, "
        "materialize chip_catalog and export again"
    )
