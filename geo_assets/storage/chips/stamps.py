"""Sizes and times of chip files at their publication: what tells without reading that one changed.

They lie in the state folder, not in the catalog: a time would make equal catalogs differ.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.core.convergence import FileStamp
from geo_assets.storage.atomic import publish_json
from geo_assets.storage.checksums import SHA256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HEX_OF_SHA256 = 64


@dataclass(frozen=True)
class RecordedStamp:
    """The stamp of one chip file, and the checksum of the content it stands for."""

    checksum: str
    stamp: FileStamp


def read_stamps(path: Path) -> dict[str, RecordedStamp]:
    """Return the recorded stamps by chip id; none where they were never written or are damaged.

    A missing stamp is no loss: the file is hashed instead.
    """
    try:
        fields = json.loads(path.read_bytes())
        return {
            chip_id: RecordedStamp(_multihash(checksum), FileStamp(size, mtime_ns))
            for chip_id, (checksum, size, mtime_ns) in fields.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _multihash(checksum: str) -> str:
    """Return a checksum with its prefix: stamps of before had none, and were all SHA-256."""
    return SHA256 + checksum if len(checksum) == _HEX_OF_SHA256 else checksum


def write_stamps(path: Path, stamps: Mapping[str, RecordedStamp]) -> None:
    """Publish the stamps by chip id."""
    publish_json(path, {chip_id: [s.checksum, *s.stamp] for chip_id, s in stamps.items()})


def stamp_of(path: Path) -> FileStamp | None:
    """Return a file's present size and time, None where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return FileStamp(status.st_size, status.st_mtime_ns)
