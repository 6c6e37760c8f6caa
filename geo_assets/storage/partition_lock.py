"""The lock of a partition: two runs never work on one partition at once.

The lock itself is the operating system's (flock), so it ends with its process, even by kill -9.
Beside it lies a file that says who holds it, with a heartbeat for filesystems whose locks do not
reach other machines.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from geo_assets.errors import LockedError, StorageError
from geo_assets.storage.atomic import publish_json, sweep_temporaries_of
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEARTBEAT_SECONDS = 10.0
# Heartbeats that a run on another machine may miss before it counts as dead.
_SILENCE_SECONDS = 30 * HEARTBEAT_SECONDS
# Long enough to outlast a look by ``is_locked``, which holds the lock for an instant.
_PATIENCE_SECONDS = 1.0


@contextmanager
def partition_lock(path: Path, *, run_id: str) -> Iterator[None]:
    """Hold the lock file at ``path``; its owner is written beside it, as ``.json``.

    Raises:
        LockedError: Another run holds it; the message names the run and since when.
        StorageError: Lock or owner cannot be written, on a full disk for instance.
    """
    lock = FileLock(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_PATIENCE_SECONDS)
        except Timeout:
            raise LockedError(f"partition {path.stem!r} is locked: {_describe(path)}") from None
    owner_path = path.with_suffix(".json")
    stopped = threading.Event()
    try:
        sweep_temporaries_of(owner_path)
        owner = {
            "run_id": run_id,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": _now(),
        }
        publish_json(owner_path, owner | {"heartbeat": owner["started"]})
        heart = threading.Thread(target=_beat, args=(owner_path, owner, stopped), daemon=True)
        heart.start()
        try:
            yield
        finally:
            stopped.set()
            heart.join()
            owner_path.unlink(missing_ok=True)
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a living run holds the lock file at ``path``."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def dead_owners(folder: Path) -> set[str]:
    """Return the ids of the runs that died holding a lock in ``folder`` or below.

    A living run takes its name away before it releases its lock; a killed one cannot. Of a run on
    another machine, whose lock may not be seen here, the heartbeat is asked too.
    """
    dead: set[str] = set()
    for owner_path in folder.rglob("*.json"):
        lock = owner_path.with_suffix(".lock")
        with suppress(OSError, ValueError, KeyError):
            if is_locked(lock):
                continue
            owner = json.loads(owner_path.read_bytes())
            # Looked at again: a run may have begun in between, and written its name.
            if not is_locked(lock) and not _beats_elsewhere(owner):
                dead.add(owner["run_id"])
    return dead


def _beats_elsewhere(owner: dict[str, str]) -> bool:
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(owner["heartbeat"])
    return owner["host"] != socket.gethostname() and age.total_seconds() < _SILENCE_SECONDS


def _describe(path: Path) -> str:
    try:
        owner = json.loads(path.with_suffix(".json").read_bytes())
        return (
            f"run {owner['run_id']} (process {owner['pid']} on {owner['host']}) works on it since "
            f"{owner['started']}, last heard of at {owner['heartbeat']}"
        )
    except (OSError, ValueError, KeyError):
        return "another run has just begun or is about to end"


def _beat(path: Path, owner: dict[str, object], stopped: threading.Event) -> None:
    while not stopped.wait(HEARTBEAT_SECONDS):
        # A full disk costs the heartbeat, never the lock; the run will meet it by itself.
        with suppress(StorageError):
            publish_json(path, owner | {"heartbeat": _now()})


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
