"""Raster files that stay open while a thread reads window after window of them.

To open a file costs what a million pixels cost. A GDAL handle serves one thread at a time, so each
thread has its own; which file is opened how is in ``asset_files``.
"""

from __future__ import annotations

import resource
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from geo_assets.storage.rasters.block_cache import bound_block_cache
from geo_assets.storage.rasters.heap import keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rasterio import DatasetReader

_ALLOWED = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_ROOM = 4096 if _ALLOWED == resource.RLIM_INFINITY else min(_ALLOWED // 2, 4096)
"""Files that all threads together keep open: half of what the system allows this process."""

_IDLE_S = 60.0
"""Seconds after which a file that was not asked for makes room for another."""

_Version = tuple[str, int, int, int]


class _Files(dict[_Version, "tuple[DatasetReader, float]"]):
    """The open files of a thread, with the time of their last use; gone with the thread."""


_ALL_FILES: WeakValueDictionary[int, _Files] = WeakValueDictionary()


class _Shelf(threading.local):
    """What a thread keeps."""

    def __init__(self) -> None:
        self.wanted = 0
        self.files = _Files()
        _ALL_FILES[id(self.files)] = self.files


_SHELF = _Shelf()


@contextmanager
def kept_open() -> Iterator[None]:
    """Keep the local files open that this thread reads within the block, also for the next such.

    They are closed with the thread, when they have been idle, or after an error.
    """
    bound_block_cache()
    keep_freed_memory()
    _SHELF.wanted += 1
    try:
        yield
    finally:
        _SHELF.wanted -= 1


@contextmanager
def opened(path: Path, open_file: Callable[[], DatasetReader]) -> Iterator[DatasetReader]:
    """Give an open file, from the shelf if it lies there and has not been replaced on the disk.

    Args:
        path: The file.
        open_file: Opens it.

    Raises:
        OSError: Within ``kept_open``: if there is no such file.
    """
    if not _SHELF.wanted:
        with open_file() as dataset:
            yield dataset
        return
    status = path.stat()
    version = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
    dataset, _ = _SHELF.files.pop(version, (None, 0.0))
    if dataset is None:
        dataset = open_file()
    try:
        yield dataset
    except BaseException:
        # What GDAL remembers of a failure must not be told of the next attempt.
        dataset.close()
        raise
    now = time.monotonic()
    room = _ROOM // max(len(_ALL_FILES), 1)
    if len(_SHELF.files) >= room:
        _close_idle(now)
    if len(_SHELF.files) < room:
        _SHELF.files[version] = (dataset, now)
    else:
        # The newest goes: who reads the same files in turn finds those that came first.
        dataset.close()


def _close_idle(now: float) -> None:
    for version, (dataset, used) in list(_SHELF.files.items()):
        if now - used > _IDLE_S:
            del _SHELF.files[version]
            dataset.close()
