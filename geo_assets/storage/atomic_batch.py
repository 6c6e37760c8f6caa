"""Atomic publication of many files at a time: each whole or not at all, synced side by side.

What ``atomic.py`` does for one file, in the same order for a batch: all are written under temporary
names, all synced, all renamed, and then their folders synced. A folder is synced once a batch
instead of once a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TYPE_CHECKING

from geo_assets.storage.atomic import fsync, temporary_name
from geo_assets.storage.uncached_files import write_file

if TYPE_CHECKING:
    from pathlib import Path


Content = bytes | Sequence[bytes | memoryview]
"""All of a file's bytes, or parts of them in their order."""

_THREADS = 4
"""Files that are written and synced at a time: a disk settles a few at the price of one."""


def publish_many(files: Mapping[Path, Content]) -> None:
    """Publish each content as the whole content of its path; renamed in the order given.

    When this returns, all of it is on the disk. Folders are made where they are missing. On any
    exception, a full disk among them, temporaries are removed; files that had their name already
    keep it, and are whole.
    """
    folders = {path.parent: None for path in files}
    for folder in folders:
        if not folder.is_dir():
            folder.mkdir(parents=True)
    temporaries = {path: temporary_name(path) for path in files}
    try:
        writing = [
            _pool(os.getpid()).submit(write_file, temporaries[path], *_parts(content), sync=True)
            for path, content in files.items()
        ]
        wait(writing)  # all of them: none may write on after another has failed
        for written in writing:
            written.result()
        for path, temporary in temporaries.items():
            temporary.rename(path)
    except BaseException:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise
    for folder in folders:
        fsync(folder)


@lru_cache(maxsize=1)
def _pool(_: int) -> ThreadPoolExecutor:
    """Threads of this process, which are not inherited by another: hence the process's number."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="publish")


def _parts(content: Content) -> Sequence[bytes | memoryview]:
    return [content] if isinstance(content, bytes) else content
