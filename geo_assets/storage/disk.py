"""Room on the disk, asked before work begins rather than found out in its middle."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

RESERVE = 64 * 1024**2
"""Bytes that a run leaves free."""


def free_bytes(folder: Path) -> int:
    """Return the bytes free where a folder lies or will lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse to start what cannot be finished.

    Args:
        folder: Where the results will lie.
        needed: Bytes that they will take at most.
        what: What is about to be written, for the message.

    Raises:
        StorageError: Naming the bytes needed and the bytes free.
    """
    free = free_bytes(folder)
    if needed + RESERVE > free:
        raise StorageError(
            f"{what}: needs up to {needed / 1024**2:,.0f} MiB, but the disk of "
            f"GEO_ASSETS_DATA has {free / 1024**2:,.0f} MiB free "
            f"({RESERVE // 1024**2} MiB stay in reserve); make room or name another folder"
        )
