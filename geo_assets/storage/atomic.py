"""Atomic publication: a file or a directory gets its final name whole, or not at all.

Everything published goes through here: written under a temporary name in the same directory,
flushed to the disk and renamed. What the bytes mean belongs to the modules of the formats.

A temporary is called ``.{name}.{token}.tmp``; readers never look at names that begin with a dot.
A killed run leaves its temporaries behind; ``sweep_temporaries`` removes them later.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from geo_assets.errors import StorageError
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.[0-9a-f]{16}(?P<previous>\.previous)?\.tmp$")
_FSYNC_THREADS = 16
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_EXCHANGE_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Give a temporary path to write one file to, and rename it to ``path`` at the end.

    The folder is made where it is missing. On any exception, a full disk among them, the
    temporary is removed and whatever lay at ``path`` stays as it was.

    Raises:
        StorageError: Nothing was written to the temporary path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        _settle_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish_bytes(path: Path, data: bytes) -> None:
    """Publish ``data`` as the whole content of ``path``.

    Raises:
        StorageError: It cannot be written, on a full disk for instance; the path is named.
    """
    with writing(path), publish(path) as temporary:
        temporary.write_bytes(data)


def publish_json(path: Path, obj: object) -> None:
    """Publish ``obj`` as JSON: UTF-8, sorted keys, a trailing newline; equal objects, equal bytes.

    Raises:
        StorageError: The object holds what JSON cannot say (NaN and infinity among it), or the
            file cannot be written.
    """
    try:
        text = json.dumps(obj, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StorageError(f"{path}: cannot be written as JSON: {error}") from error
    publish_bytes(path, f"{text}\n".encode())


@contextmanager
def publish_directory(path: Path) -> Iterator[Path]:
    """Give an empty temporary directory to fill, and put it in the place of ``path`` at the end.

    An existing directory is exchanged in one system call (``renameat2`` with
    ``RENAME_EXCHANGE``), so a reader that opens ``path`` meets the old or the new generation,
    never a mix and never nothing; the old one is removed afterwards. Where the operating system
    or the filesystem has no exchange (macOS, some network filesystems), two renames take its
    place: for the moment between them nothing lies at ``path``, and after a crash just there
    ``sweep_temporaries`` puts the old generation back.
    """
    temporary = _new_folder_for(path)
    try:
        yield temporary
        _settle_directory(temporary, path)
    finally:
        # After an exchange the old generation lies here; after a failure, the unfinished new one.
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` for what it is made from, and remove it at the end.

    On the same disk as ``path``; what a killed run leaves is swept as its temporaries are.
    """
    temporary = _new_folder_for(path)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _new_folder_for(path: Path) -> Path:
    temporary = temporary_name(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    return temporary


def sweep_temporaries(folder: Path) -> int:
    """Remove what dead runs left under temporary names in ``folder`` and below; return how many.

    Only for a folder of one partition, under that partition's lock: a living writer's temporary
    looks just the same. See ``sweep_temporaries_of`` for a folder that partitions share.
    """
    swept = 0
    for parent, folders, files in _walk(folder):
        leftovers = [name for name in (*folders, *files) if _TEMPORARY.match(name)]
        folders[:] = [name for name in folders if name not in leftovers]
        for name in leftovers:
            _sweep(parent / name)
        swept += len(leftovers)
    return swept


def sweep_temporaries_of(path: Path) -> int:
    """Remove what dead runs left beside ``path`` on their way to that name; return how many.

    Only under the lock of the partition that owns ``path``; other names in the folder stay.
    """
    if not path.parent.is_dir():
        return 0
    leftovers = [
        entry
        for entry in path.parent.iterdir()
        if (match := _TEMPORARY.match(entry.name)) and match["name"] == path.name
    ]
    for leftover in leftovers:
        _sweep(leftover)
    return len(leftovers)


def is_temporary(name: str) -> bool:
    """Whether a file name is one that ``publish`` or ``publish_directory`` gives a temporary."""
    return _TEMPORARY.match(name) is not None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path`` that no other writer has and ``is_temporary`` knows."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def _settle_file(temporary: Path, path: Path) -> None:
    if not temporary.is_file():
        raise StorageError(f"{path}: nothing was written, so nothing can be published")
    fsync(temporary)
    temporary.replace(path)
    fsync(path.parent)


def _settle_directory(temporary: Path, path: Path) -> None:
    _fsync_tree(temporary)
    if not path.exists():
        temporary.rename(path)
    elif path.is_dir():
        _replace_directory(temporary, path)
    else:
        raise StorageError(f"{path}: a file lies where a directory is to be published")
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Make a file, or the names in a folder, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    # Path.walk came with Python 3.12.
    for parent, folders, files in os.walk(folder):
        yield Path(parent), folders, files


def _fsync_tree(folder: Path) -> None:
    tree = [(parent, files) for parent, _, files in _walk(folder)]
    # Side by side, for a disk settles many files at the price of a few.
    with ThreadPoolExecutor(_FSYNC_THREADS) as pool:
        list(pool.map(fsync, [parent / name for parent, files in tree for name in files]))
        list(pool.map(fsync, [parent for parent, _ in tree]))


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two directories in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    outcome: int = renameat2(
        _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE
    )
    if outcome == 0:
        return True
    code = ctypes.get_errno()
    if code in _EXCHANGE_UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))


def _replace_directory(new: Path, path: Path) -> None:
    if _exchange(new, path):
        return
    previous = new.with_name(new.name.removesuffix(".tmp") + ".previous.tmp")
    path.rename(previous)
    try:
        new.rename(path)
    except BaseException:
        previous.rename(path)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _sweep(leftover: Path) -> None:
    match = _TEMPORARY.match(leftover.name)
    if match is None:
        raise StorageError(f"{leftover}: is not the name of a temporary")
    final = leftover.with_name(match["name"])
    if match["previous"] and not final.exists():
        leftover.rename(final)
    elif leftover.is_dir():
        shutil.rmtree(leftover)
    else:
        leftover.unlink(missing_ok=True)
