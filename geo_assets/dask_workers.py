"""Workers on a Dask cluster: the tasks of ``core.workers`` done in other processes, or machines.

A function is sent whole with each of its tasks and unpacked once in each worker, so that what it
keeps (open catalogs, tokens) serves the tasks that follow. Nothing else is sent: no environment, no
credential. How a cluster is found and looked over is in ``dask_cluster``.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import time
import traceback
from collections import deque
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import cloudpickle
from distributed import KilledWorker, get_worker
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

import geo_assets
from geo_assets.errors import ComputeError
from geo_assets.storage.rasters.block_cache import bound_block_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from distributed import Client, Future

    from geo_assets.core.workers import Result, Task, Workers

LOOK_S = 10.0
"""Seconds between two looks at whether any worker is left."""

PATIENCE_S = 120.0
"""Seconds without a worker at work after which nobody is waited for any more."""


def _digest_of_code() -> str:
    """What tells one state of this package from another, whatever its version says."""
    folder = Path(geo_assets.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


CODE = _digest_of_code()
"""Digest of the package as this process loaded it: a worker of yesterday has yesterday's."""


@dataclass(frozen=True)
class Agreement:
    """What a worker must have in common with the process that sends tasks.

    Attributes:
        code: Digest of the package's source files.
        token: A file in the folder of results that lies there as long as tasks are sent.
    """

    code: str
    token: str


@dataclass(frozen=True)
class _Raised:
    """An exception of a task on its way back, told from those of the cluster itself."""

    error: bytes | None
    text: str


def do(function: bytes, task: bytes, agreement: Agreement) -> Any:
    """Do one task in a worker process; an exception of the task is a result like any other.

    Raises:
        ComputeError: If this worker would do another thing than the sender.
    """
    _bound_gdal()
    breach = breach_of(agreement)
    if breach is not None:
        raise ComputeError(f"worker {get_worker().address} {breach}")
    try:
        work, what = _function_of(function), pickle.loads(task)  # noqa: S301  # from our own client
    except (ImportError, AttributeError) as error:
        raise ComputeError(f"worker {get_worker().address} cannot load a task: {error}") from None
    try:
        return work(what)
    except Exception as error:  # whatever it is, it is raised at the task's turn
        text = f"On worker {get_worker().address}:\n{traceback.format_exc()}"
        try:
            packed = cloudpickle.dumps(error)
            pickle.loads(packed)  # noqa: S301  # as above
        except Exception:  # exceptions of others need not survive the way
            packed = None
        return _Raised(packed, text)


@functools.cache
def _bound_gdal() -> None:
    """Let GDAL keep decoded blocks in an eighth of the worker's memory at most."""
    limit = get_worker().memory_manager.memory_limit
    if limit:
        bound_block_cache(limit)


@functools.lru_cache(maxsize=1)
def breach_of(agreement: Agreement) -> str | None:
    """Return in which point this process does not keep to an agreement; None: it does.

    Asked once; what holds, holds as long as tasks are sent.
    """
    if agreement.code != CODE:
        return (
            "runs another state of the package geo_assets: install the same one there and restart "
            "the workers"
        )
    if not Path(agreement.token).is_file():
        return (
            f"does not see the folder of results {Path(agreement.token).parent}: GEO_ASSETS_DATA "
            "must be one shared folder, at the same path on every machine"
        )
    return None


@functools.lru_cache(maxsize=8)
def _function_of(packed: bytes) -> Callable[[Any], Any]:
    return cast("Callable[[Any], Any]", pickle.loads(packed))  # noqa: S301  # as in do


class DaskWorkers:
    """The workers of a Dask cluster (``Workers``).

    A worker that dies costs time: Dask does its tasks again on another. A task that was on four
    workers when they died (``distributed.scheduler.allowed-failures``) is given up.
    """

    def __init__(
        self, client: Client, agreement: Agreement, *, patience_s: float = PATIENCE_S
    ) -> None:
        """Send tasks through a client.

        Args:
            client: Connected to a scheduler.
            agreement: What every worker must keep to.
            patience_s: Seconds to wait for a worker where none is, or none works.
        """
        self._client = client
        self._agreement = agreement
        self._patience_s = patience_s

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield the result of each task, see ``Workers.map``.

        In flight are two tasks for each thread of the cluster, so that none waits for this process.

        Raises:
            ComputeError: If the function or a task cannot be sent, the cluster is gone, all workers
                lack memory, or a task takes every worker with it.
        """
        packed = _packed(function, "function")
        name = getattr(getattr(function, "func", function), "__name__", type(function).__name__)
        pending: deque[Future] = deque()
        try:
            for task in tasks:
                pending.append(self._submit(packed, task, name))
                if len(pending) >= self._in_flight():
                    yield self._result(pending.popleft())
            while pending:
                yield self._result(pending.popleft())
        finally:
            if pending and self._client.status == "running":
                self._client.cancel(list(pending))

    def _in_flight(self) -> int:
        return 2 * max(self._threads(), 1)

    def _threads(self) -> int:
        """Threads of all workers that are there now."""
        with self._lost_is_told():
            return sum(self._client.nthreads().values())

    def _submit(self, function: bytes, task: object, name: str) -> Future:
        packed = _packed(task, f"task of {name}")
        with self._lost_is_told():
            return self._client.submit(
                do, function, packed, self._agreement, key=f"{name}-{uuid4().hex}", pure=False
            )

    def _result(self, future: Future) -> Any:
        idle_since: float | None = None
        while True:
            try:
                with self._lost_is_told():
                    result = future.result(timeout=LOOK_S)
                break
            except TimeoutError:
                now, idle = time.monotonic(), self._why_idle(future)
                idle_since = None if idle is None else (idle_since or now)
                if idle_since is not None and now - idle_since > self._patience_s:
                    raise ComputeError(idle) from None
        if isinstance(result, _Raised):
            raise _unpacked(result)
        return result

    def _why_idle(self, future: Future) -> str | None:
        """Why nobody works on a task: no worker is there, or those it waits for are paused.

        Above 80 % of its memory Dask pauses a worker: it ends what it does and begins nothing. A
        task that it holds already may never be given to another.
        """
        where, waited = address_of(self._client), f"for {self._patience_s:.0f} s"
        with self._lost_is_told():
            known = self._client.scheduler_info(n_workers=-1)["workers"]
            held = self._client.processing()
        if not known:
            return f"no worker has been at {where} {waited}; start workers there and run again"
        holders = [known[each] for each, keys in held.items() if future.key in keys]
        waited_for = holders or [*known.values()]
        if not all(each["status"] == "paused" for each in waited_for) or any(
            each["metrics"].get("task_counts", {}).get("executing") for each in waited_for
        ):
            return None
        least = min(each["memory_limit"] or 0 for each in waited_for) / 1024**3
        return (
            f"{len(waited_for)} of {len(known)} workers at {where} have been paused {waited} while "
            f"a task waits for them: their memory ({least:.1f} GiB) is used up; give workers more, "
            "or fewer threads, and run again"
        )

    @contextmanager
    def _lost_is_told(self) -> Iterator[None]:
        """Say in our words what of the cluster was lost."""
        try:
            yield
        except TimeoutError:
            raise
        except KilledWorker as error:
            raise ComputeError(
                f"a task was given up: {error.allowed_failures + 1} workers died while they had "
                "it, most often for want of memory; give workers more, or fewer threads"
            ) from error
        except (CancelledError, ClosedClientError, CommClosedError, OSError) as error:
            raise ComputeError(
                f"the scheduler {address_of(self._client)} went away: {error}"
            ) from error


def _packed(value: object, what: str) -> bytes:
    try:
        return cast("bytes", cloudpickle.dumps(value))
    except Exception as error:
        raise ComputeError(f"a {what} cannot be sent to another process: {error}") from error


def _unpacked(raised: _Raised) -> BaseException:
    """The exception as the task raised it, with its way there as a note."""
    if raised.error is None:
        return ComputeError(raised.text)
    error = cast("BaseException", pickle.loads(raised.error))  # noqa: S301  # from our own workers
    error.add_note(raised.text)
    return error


def address_of(client: Client) -> str:
    """Return where a client's scheduler listens."""
    return str(client.scheduler.address) if client.scheduler else "of the cluster"


if TYPE_CHECKING:
    _: type[Workers] = DaskWorkers
