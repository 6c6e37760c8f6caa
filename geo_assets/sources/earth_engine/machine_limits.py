"""Limits that all runs on one machine share: requests in flight, and requests a second.

The service counts a project's requests, whichever process sent them. Slots are files under a lock
of the operating system, which ends with its process, even by kill -9; the rate is one number in a
file. Both lie in a folder of the user's own, outside of any campaign.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import struct
import tempfile
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.policy import MAX_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER_VARIABLE = "GEO_ASSETS_EE_LIMITS"
"""Folder of the shared limits; by default below that of temporary files."""

_POLLERS = 2
"""Threads of one process that look for a slot of another process at the same time."""
_POLL_SECONDS = 0.01
_RATE = struct.Struct("<ddI")
_LONGEST_WAIT = 3700.0
"""Seconds ahead beyond which a stored time is damaged."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def limits_folder(base_url: str, project: str) -> Path:
    """Return the folder that runs of one user share for a service and project; it is made.

    Raises:
        SourceError: If it cannot be made, or belongs to someone else.
    """
    stated = os.environ.get(FOLDER_VARIABLE)
    root = Path(stated or Path(tempfile.gettempdir()) / f"geo-assets-{os.getuid()}")
    name = hashlib.sha256(f"{base_url.rstrip('/')}\n{project}".encode()).hexdigest()[:16]
    folder = root / f"earth-engine-{name}"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.is_symlink() or root.stat().st_uid != os.getuid():
            raise SourceError(
                f"{root} belongs to someone else; name another folder by {FOLDER_VARIABLE}"
            )
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"{folder} cannot hold the limits that runs share ({error.strerror}); name another "
            f"folder by {FOLDER_VARIABLE}"
        ) from error
    return folder


class MachineSlots:
    """Places for requests in flight; those of a run with a smaller limit are among them.

    Who finds nobody waiting takes a free place at once. Where anyone waits, of whichever process,
    each process looks again and again at random moments, so that none keeps the places for itself.
    """

    def __init__(self, folder: Path, count: int) -> None:
        if not 1 <= count <= MAX_CONCURRENCY:
            raise SourceError(f"slots: {count} is not from 1 to {MAX_CONCURRENCY}")
        # From the top, so that a run with few places finds those at the bottom free.
        self._files = {
            number: _open(folder / f"slot-{number:02d}") for number in reversed(range(count))
        }
        self._owners: dict[int, object] = {}
        self._lock = threading.Lock()
        self._pollers = threading.Semaphore(_POLLERS)
        # Held by those who wait; two descriptions of one file, so that the second sees the first.
        self._queue = _open(folder / "queue")
        self._queue_seen = _open(folder / "queue")
        self._waiting: set[object] = set()
        _OPEN.add(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for a slot and hold it."""
        # Whatever is taken is entered under this name first: an interrupt anywhere gives it back.
        owner = object()
        try:
            if self._anyone_waits() or not self._try_to_take(owner):
                self._wait_and_take(owner)
            yield
        finally:
            self._give_back(owner)

    def _wait_and_take(self, owner: object) -> None:
        with self._pollers, self._queued():
            taken = False
            while not taken:
                # Two runs that look at the same moments would starve each other.
                time.sleep(random.uniform(0.5, 1.5) * _POLL_SECONDS)  # noqa: S311  # no secret
                taken = self._try_to_take(owner)

    def _try_to_take(self, owner: object) -> bool:
        with self._lock:
            for number, file in self._files.items():
                if number in self._owners:
                    continue
                self._owners[number] = owner
                if _locked_at_once(file, fcntl.LOCK_EX):
                    return True
                del self._owners[number]
        return False

    def _give_back(self, owner: object) -> None:
        with self._lock:
            for number in [n for n, one in self._owners.items() if one is owner]:
                fcntl.flock(self._files[number], fcntl.LOCK_UN)
                del self._owners[number]

    def _anyone_waits(self) -> bool:
        with self._lock:
            if self._waiting:
                return True
            try:
                return not _locked_at_once(self._queue_seen, fcntl.LOCK_EX)
            finally:
                fcntl.flock(self._queue_seen, fcntl.LOCK_UN)

    @contextmanager
    def _queued(self) -> Iterator[None]:
        waiter = object()
        try:
            with self._lock:
                self._waiting.add(waiter)
                fcntl.flock(self._queue, fcntl.LOCK_SH)
            yield
        finally:
            with self._lock:
                self._waiting.discard(waiter)
                if not self._waiting:
                    fcntl.flock(self._queue, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files; no slot may be held."""
        for file in (*self._files.values(), self._queue, self._queue_seen):
            os.close(file)
        self._files.clear()
        _OPEN.discard(self)


class MachineRate:
    """A token bucket that all runs draw from, and the pause that the service asks all of them for.

    The bucket is the generic cell rate algorithm (ITU-T I.371): one stored time, at which it would
    be full again. Times are those of the machine's monotonic clock, which all processes share.

    Args:
        folder: Where the number lies.
        per_second: Requests a second; None: no limit, only pauses are kept.
        burst: Requests that may start at once.
    """

    def __init__(
        self,
        folder: Path,
        per_second: float | None,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = folder / "rate"
        self._file = _open(self._path)
        self._interval = 0.0 if per_second is None else 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        # The clock begins anew with each boot: what an earlier one stored fails its checksum.
        self._boot = zlib.crc32(_boot_id())

    def rest(self) -> None:
        """Wait until no pause is left. Holds nothing meanwhile; nor should who calls it."""
        while (left := self._pause_left()) > 0:
            self._sleep(left)

    def wait(self) -> bool:
        """Wait for a token; False if the service asked for a pause before or meanwhile."""
        with self._locked():
            full, paused = self._read()
            now = self._clock()
            if paused > now:
                return False
            starts = max(now, full - self._tolerance)
            self._write(max(full, starts) + self._interval, paused)
        if starts <= now:
            return True
        self._sleep(starts - now)
        return self._pause_left() <= 0

    def pause(self, seconds: float) -> None:
        """Hold back every run for a while, as the service asked."""
        with self._locked():
            full, paused = self._read()
            self._write(full, max(paused, self._clock() + seconds))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _pause_left(self) -> float:
        with self._locked():
            _, paused = self._read()
            return paused - self._clock()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read(self) -> tuple[float, float]:
        """When the bucket is full again and when the pause ends; nothing readable: it is empty."""
        raw = os.pread(self._file, _RATE.size, 0)
        now = self._clock()
        if len(raw) == _RATE.size:
            full, paused, check = _RATE.unpack(raw)
            if (
                check == zlib.crc32(raw[:-4], self._boot)
                and max(full, paused) <= now + _LONGEST_WAIT
            ):
                return full, paused
        return now + self._tolerance, 0.0

    def _write(self, full: float, paused: float) -> None:
        raw = struct.pack("<dd", full, paused)
        try:
            os.pwrite(self._file, raw + struct.pack("<I", zlib.crc32(raw, self._boot)), 0)
        except OSError as error:
            raise _unusable(self._path, error) from error


def _locked_at_once(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _boot_id() -> bytes:
    with suppress(OSError):
        return _BOOT_ID.read_bytes()
    return b""


def _open(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # Sweepers of temporary folders go by age: a slot that a run holds must look young.
        os.utime(file)
    except OSError as error:
        raise _unusable(path, error) from error
    return file


def _unusable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"{path} cannot hold the limits that runs share ({error.strerror}); name another "
        f"folder by {FOLDER_VARIABLE}"
    )


_OPEN: WeakSet[MachineSlots] = WeakSet()


def _close_in_child() -> None:
    # A forked child's copies would keep the slots of a parent that died.
    for slots in list(_OPEN):
        slots.close()


os.register_at_fork(after_in_child=_close_in_child)
