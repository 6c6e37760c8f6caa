"""Errors of the disk, a full one above all, said in our own words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a ``StorageError`` that names the file.

    Raises:
        StorageError: The file cannot be written; the message holds the system's reason.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
