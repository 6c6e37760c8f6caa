"""Cubes in Icechunk repositories: changed by transactions, one writer at a time on a local disk.

Icechunk's storage on a local file system loses acknowledged commits of several writers, and says
so; here every session that writes, and its commit, holds the lock file beside the repository.
"""

from __future__ import annotations

import datetime as dt
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from geo_assets.errors import LockedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BRANCH = "main"
SUFFIX = ".icechunk"
LEAST_GARBAGE_AGE = dt.timedelta(hours=1)
"""Younger garbage is never collected: a writer that holds no lock of ours may be at work."""
_PATIENCE_SECONDS = 600.0


def is_repository(path: Path) -> bool:
    """Whether a folder is an Icechunk repository rather than a plain Zarr store."""
    return (path / "refs").is_dir() and (path / "snapshots").is_dir()


def latest_store(path: Path) -> Any:
    """Return the Zarr store of the newest snapshot, for reading.

    Raises:
        StorageError: Icechunk is not installed, or the repository cannot be read.
    """
    icechunk = _icechunk()
    try:
        return open_repository(path).readonly_session(BRANCH).store
    except icechunk.IcechunkError as error:
        raise StorageError(f"{path}: cannot be read as a cube: {error}") from error


def latest_snapshot(path: Path) -> str:
    """Return the id of the newest snapshot.

    Raises:
        StorageError: As ``latest_store``.
    """
    icechunk = _icechunk()
    try:
        return str(open_repository(path).lookup_branch(BRANCH))
    except icechunk.IcechunkError as error:
        raise StorageError(f"{path}: cannot be read as a cube: {error}") from error


def open_repository(path: Path) -> Any:
    """Open the repository of a cube."""
    icechunk = _icechunk()
    return icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))


def create_repository(path: Path) -> Any:
    """Create an empty repository in an empty folder."""
    icechunk = _icechunk()
    return icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))


def damage() -> tuple[type[Exception], ...]:
    """Return what reading a damaged store raises: we, Zarr, codecs or, where in use, Icechunk."""
    icechunk = sys.modules.get("icechunk")
    own = () if icechunk is None else (icechunk.IcechunkError,)
    return (
        *(StorageError, OSError, KeyError, RuntimeError, TypeError, ValueError),
        # Blosc, of a frame that says it holds less than nothing.
        SystemError,
        *own,
    )


@contextmanager
def writing_alone(path: Path) -> Iterator[None]:
    """Hold the lock of the one writer that a repository may have; waits for another to end.

    Raises:
        LockedError: Another writer does not end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_of(path))
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except Timeout:
        raise LockedError(
            f"{path}: another process writes to it for more than {_PATIENCE_SECONDS:.0f} s"
        ) from None
    try:
        yield
    finally:
        lock.release()


def lock_of(path: Path) -> Path:
    """Return the lock file of a repository; it lies beside it and stays."""
    return path.with_name(f".{path.name}.lock")


def collect_garbage(path: Path, age: dt.timedelta) -> int:
    """Let go of snapshots superseded before an age, and remove what nothing refers to.

    A snapshot that was the newest at any time within the age stays, whenever it was written: a
    reader may be on it. So does anything written within the age: by a transaction that was killed,
    or by one that is under way.

    Returns:
        The bytes that were removed.

    Raises:
        StorageError: The age is less than ``LEAST_GARBAGE_AGE``.
    """
    if age < LEAST_GARBAGE_AGE:
        raise StorageError(
            f"{path}: garbage younger than {LEAST_GARBAGE_AGE} may belong to a write that is under "
            f"way; {age} is too young"
        )
    with writing_alone(path):
        repository = open_repository(path)
        before = dt.datetime.now(dt.UTC) - age
        written = (each.written_at for each in repository.ancestry(branch=BRANCH))
        # From the newest back: the first of them was the newest one then.
        current = next((time for time in written if time <= before), before)
        repository.expire_snapshots(older_than=current)
        return int(repository.garbage_collect(before).bytes_deleted)


def require_icechunk() -> None:
    """Refuse at once what would be refused when everything has been read.

    Raises:
        StorageError: Icechunk is not installed.
    """
    _icechunk()


def can_open() -> bool:
    """Whether repositories can be opened here: whether Icechunk is there, and can be imported."""
    try:
        _icechunk()
    except StorageError:
        return False
    return True


def _icechunk() -> Any:
    try:
        import icechunk
    except ImportError:
        raise StorageError(
            "cube.store: icechunk is not installed; pip install 'geo-assets[icechunk]', or choose "
            "the store zarr"
        ) from None
    # It warns at each opening that local disks want one writer: that is what the lock is for.
    icechunk.set_logs_filter("error")
    return icechunk
