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
from collections import deque
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.policy import MAX_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER_VARIABLE = "GEO_ASSETS_EE_LIMITS"
"""Folder of the shared limits; by default below that of temporary files."""

_POLLERS = 4
"""Threads of one process that look for a slot of another process at the same time."""
_POLL_SECONDS = 0.01
_RATE = struct.Struct("<ddI")
_LONGEST_WAIT = 3700.0
"""Seconds ahead beyond which a stored time is one of another boot, or damaged."""


def limits_folder(base_url: str, project: str) -> Path:
    """Return the folder that runs of one user share for a service and project; it is made.

    Raises:
        SourceError: If it cannot be made, or belongs to someone else.
    """
    stated = os.environ.get(FOLDER_VARIABLE)
    root = Path(stated or Path(tempfile.gettempdir()) / f"geo-assets-{os.getuid()}")
    name = hashlib.sha256(f"{base_url}\n{project}".encode()).hexdigest()[:16]
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
    """Places for requests in flight; those of a run with a smaller limit are among them."""

    def __init__(self, folder: Path, count: int) -> None:
        if not 1 <= count <= MAX_CONCURRENCY:
            raise SourceError(f"slots: {count} is not from 1 to {MAX_CONCURRENCY}")
        # From the top, so that a run with few places finds those at the bottom free.
        self._files = {number: _open(folder / f"slot-{number:02d}") for number in range(count)}
        self._free = deque(sorted(self._files, reverse=True))
        self._changed = threading.Condition()
        self._pollers = threading.Semaphore(_POLLERS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for a slot and hold it."""
        number = self._take()
        try:
            yield
        finally:
            fcntl.flock(self._files[number], fcntl.LOCK_UN)
            self._give_back(number)

    def _take(self) -> int:
        number = self._try_to_take()
        while number is None:
            with self._pollers:
                # Two runs that look at the same moments would starve each other.
                time.sleep(random.uniform(0.5, 1.5) * _POLL_SECONDS)  # noqa: S311  # no secret
                number = self._try_to_take()
        return number

    def _try_to_take(self) -> int | None:
        """A slot that no thread of this process holds, and then no other process."""
        tried = []
        taken = None
        for _ in range(len(self._files)):
            with self._changed:
                if not self._free:
                    break
                number = self._free.popleft()
            try:
                fcntl.flock(self._files[number], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tried.append(number)
            else:
                taken = number
                break
        with self._changed:
            self._free.extend(tried)
        return taken

    def _give_back(self, number: int) -> None:
        with self._changed:
            self._free.appendleft(number)

    def close(self) -> None:
        """Close the files; no slot may be held."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()


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
        self._file = _open(folder / "rate")
        self._interval = 0.0 if per_second is None else 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for a token, and until no pause is left."""
        while True:
            with self._locked():
                full, paused = self._read()
                now = self._clock()
                starts = max(now, full - self._tolerance, paused)
                self._write(max(full, starts) + self._interval, paused)
            if starts <= now:
                return
            self._sleep(starts - now)
            with self._locked():
                _, paused = self._read()
            if paused <= self._clock():
                return

    def pause(self, seconds: float) -> None:
        """Hold back every run for a while, as the service asked."""
        with self._locked():
            full, paused = self._read()
            self._write(full, max(paused, self._clock() + seconds))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            stack.callback(fcntl.flock, self._file, fcntl.LOCK_UN)
            yield

    def _read(self) -> tuple[float, float]:
        """When the bucket is full again and when the pause ends; what is damaged counts as now."""
        raw = os.pread(self._file, _RATE.size, 0)
        now = self._clock()
        if len(raw) == _RATE.size:
            full, paused, check = _RATE.unpack(raw)
            if check == zlib.crc32(raw[:-4]) and max(full, paused) <= now + _LONGEST_WAIT:
                return full, paused
        return now + self._tolerance, 0.0

    def _write(self, full: float, paused: float) -> None:
        raw = struct.pack("<dd", full, paused)
        os.pwrite(self._file, raw + struct.pack("<I", zlib.crc32(raw)), 0)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SourceError(
            f"{path} cannot hold the limits that runs share ({error.strerror}); name another "
            f"folder by {FOLDER_VARIABLE}"
        ) from error
