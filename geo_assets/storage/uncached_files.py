"""Large files written past the system's cache of pages (``O_DIRECT``).

A result is synced before it gets its name, so a cache that takes it first helps its readers alone;
but each page of a cache has to be found and filled, which on a virtual machine may take longer than
the disk does (docs/decisions/0014-results-are-written-past-the-page-cache.md). The end of a file
that is no whole block, small files, and all of them where the filesystem knows no such way, go
through the cache.

Nothing here renames; that is the business of ``atomic.py`` and ``atomic_batch.py``.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LEAST_BYTES = 1024**2
"""A smaller file is sooner copied than waited for."""
_ROOM = 2 * 1024**2
"""Bytes handed to the disk at a time, at most."""
_BLOCK = 4096
"""Address, offset and length of what is written directly are multiples of a disk's block, which is
this or smaller."""
# Other systems than Linux have no such flag: there, nothing is written directly.
_O_DIRECT: int = getattr(os, "O_DIRECT", 0)

_of_this_thread = threading.local()


def write_file(path: Path, *parts: bytes | memoryview, sync: bool = False) -> None:
    """Write a file that does not exist yet.

    Args:
        path: The file.
        parts: Its content, one after the other.
        sync: Whether it must outlive a power cut when this returns; its name does not yet.

    Raises:
        OSError: The file exists, or the disk is full.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        views = [memoryview(part).cast("B") for part in parts]
        if sum(map(len, views)) >= LEAST_BYTES and _set_direct(file, on=True):
            views = [_write_blocks(file, views)]
            _set_direct(file, on=False)
        for view in views:
            _write_all(file, view)
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def _write_blocks(file: int, views: Iterable[memoryview]) -> memoryview:
    """Write what fills whole blocks directly; return the rest."""
    room, filled = _room(), 0
    for view in views:
        start = 0
        while start < len(view):
            part = view[start : start + _ROOM - filled]
            # By numpy, which lets other threads go on meanwhile.
            np.copyto(
                np.frombuffer(room[filled : filled + len(part)], np.uint8),
                np.frombuffer(part, np.uint8),
            )
            start += len(part)
            filled += len(part)
            if filled == _ROOM:
                _write_all(file, room)
                filled = 0
    whole = filled - filled % _BLOCK
    _write_all(file, room[:whole])
    return room[whole:filled]


def _write_all(file: int, rest: memoryview) -> None:
    while rest:
        try:
            # A full disk may take a part, and refuse the next.
            rest = rest[os.write(file, rest) :]
        except OSError as error:
            # A filesystem that takes the flag and no write, or a part that was no whole block.
            if error.errno != errno.EINVAL or not _is_direct(file):
                raise
            _set_direct(file, on=False)


def _room() -> memoryview:
    """Return memory of this thread that begins with a page."""
    # Of this process, too: what is mapped is shared with those that it forks.
    owner, room = getattr(_of_this_thread, "room", (None, None))
    if room is None or owner != os.getpid():
        room = memoryview(mmap.mmap(-1, _ROOM))
        _of_this_thread.room = (os.getpid(), room)
    return room


def _is_direct(file: int) -> bool:
    return bool(fcntl.fcntl(file, fcntl.F_GETFL) & _O_DIRECT)


def _set_direct(file: int, *, on: bool) -> bool:
    """Have a file written directly or not; False where the filesystem cannot."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags | _O_DIRECT if on else flags & ~_O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return _is_direct(file)
