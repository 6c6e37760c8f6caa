"""Room on the disk, asked before work begins rather than found out in its middle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from geo_assets.errors import StorageError

RESERVE = 64 * 1024**2
"""Bytes that a run leaves free."""


def free_bytes(folder: Path) -> int:
    """Return the bytes free where a folder lies or will lie."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def occupied_bytes(folder: Path) -> int:
    """Return the bytes of the files in a folder and below; 0 if there is none.

    Files that go while they are counted do not count.
    """
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += Path(parent, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def require_room(folder: Path, needed: int, what: str, *, at_once: int = 0) -> None:
    """Refuse to start what cannot be finished.

    Results are replaced one by one, so what already lies in the folder counts as room.

    Args:
        folder: Where the results will lie.
        needed: Bytes that they will take at most, all together.
        what: What is about to be written, for the message.
        at_once: Bytes of the largest of them, which lies beside its predecessor for a while.

    Raises:
        StorageError: Naming the bytes needed and the bytes free.
    """
    more = max(needed - occupied_bytes(folder), at_once)
    free = free_bytes(folder)
    if more + RESERVE > free:
        raise StorageError(
            f"{what}: needs up to {more / 1024**2:,.0f} MiB more, but the disk of "
            f"GEO_ASSETS_DATA has {free / 1024**2:,.0f} MiB free "
            f"({RESERVE // 1024**2} MiB stay in reserve); make room or name another folder"
        )
