"""Which file it is that lies at a path: another may take its name while it is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

FileVersion = tuple[int, int, int, int]
"""Device, inode, bytes and time of a file: what tells that another has taken its name."""


def version_of(file: Path | int) -> FileVersion:
    """Return what tells a file from any that may take its place.

    Args:
        file: A path, or the descriptor of an open file.

    Raises:
        StorageError: There is none.
    """
    try:
        status = os.stat(file)  # noqa: PTH116  # of a descriptor, too
    except FileNotFoundError:
        raise StorageError(f"{file}: does not exist") from None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
