"""Where the work of a run is done, as a deployment says it: words read and checked, no more.

Workers themselves are in ``core.workers`` (threads) and ``dask_workers`` (a cluster), which is
imported only where one is asked for: nothing of Dask is loaded otherwise.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from geo_assets.core.workers import Threads
from geo_assets.errors import ComputeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Self

    from geo_assets.core.workers import Result, Task, Workers

COMPUTE_VARIABLE = "GEO_ASSETS_COMPUTE"
WORKERS_VARIABLE = "GEO_ASSETS_WORKERS"
MEMORY_VARIABLE = "GEO_ASSETS_WORKER_MEMORY"

_ADDRESS = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)? ?[MG]i?B")


@dataclass(frozen=True)
class ComputeChoice:
    """Who does the work.

    Attributes:
        mode: ``threads`` of this process, ``local`` worker processes, or an ``address``.
        address: Where the scheduler listens, ``tcp://host:port``; empty in other modes.
        workers: Threads, or processes of a local cluster; None: one for each processor.
        memory: What one local worker process may hold, such as ``2GiB``; None: its share.
    """

    mode: Literal["threads", "local", "address"] = "threads"
    address: str = ""
    workers: int | None = None
    memory: str | None = None

    def open(self, folder: Path) -> AbstractContextManager[Workers]:
        """Return the workers, at work within the context.

        Args:
            folder: The folder of results, which workers of a cluster must see at the same path.

        Raises:
            ComputeError: If there is no scheduler, no worker, or one that would do other work.
        """
        if self.mode == "threads":
            return nullcontext(Threads(self.workers))
        require_dask()
        from geo_assets.dask_cluster import open_cluster

        return open_cluster(self, folder)

    def __str__(self) -> str:
        """The choice in a few words."""
        count = "" if self.workers is None else f"{self.workers} "
        if self.mode == "threads":
            return f"{count}threads of one process"
        if self.mode == "address":
            return f"Dask scheduler {self.address}"
        memory = "" if self.memory is None else f" of {self.memory}"
        return f"{count}local Dask worker processes{memory}"


def require_dask() -> None:
    """See that Dask is installed, without importing it.

    Raises:
        ComputeError: If it is not.
    """
    missing = [name for name in ("dask", "distributed") if find_spec(name) is None]
    if missing:
        raise ComputeError(
            f"{COMPUTE_VARIABLE} asks for Dask, and {' and '.join(missing)} cannot be imported: "
            "pip install 'geo-assets[dask]'"
        )


def compute_choice(where: str = "", workers: int = 0, memory: str = "") -> ComputeChoice:
    """Return who does the work: what is given, else what the environment says, else threads.

    Raises:
        ComputeError: If a value is not one of those allowed; it names the variable.
    """
    where = where or os.environ.get(COMPUTE_VARIABLE) or "threads"
    number = str(workers or os.environ.get(WORKERS_VARIABLE) or "")
    memory = memory or os.environ.get(MEMORY_VARIABLE) or ""
    if number and not (number.isascii() and number.isdigit() and 1 <= int(number) <= 1024):
        raise ComputeError(f"{WORKERS_VARIABLE}={number!r}: allowed is a whole number, 1 to 1024")
    if memory and not _MEMORY.fullmatch(memory):
        raise ComputeError(
            f"{MEMORY_VARIABLE}={memory!r}: allowed is a number and MB, MiB, GB or GiB, as 2GiB"
        )
    count = int(number) if number else None
    if where == "threads":
        return ComputeChoice("threads", workers=count)
    if where == "local":
        return ComputeChoice("local", workers=count, memory=memory or None)
    address = _ADDRESS.fullmatch(where)
    if address is None or not 1 <= int(address["port"]) <= 65535:
        raise ComputeError(
            f"{COMPUTE_VARIABLE}={where!r}: allowed are threads, local, or the address of a "
            "Dask scheduler, tcp://host:port"
        )
    return ComputeChoice("address", where)


class WorkersAtFirstUse:
    """Workers of one asset run, opened by the first task: what asks for none opens no cluster."""

    def __init__(self, open_workers: Callable[[], AbstractContextManager[Workers]]) -> None:
        self._open = open_workers
        self._stack = ExitStack()
        self._workers: Workers | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield the result of each task, see ``Workers.map``."""
        if self._workers is None:
            self._workers = self._stack.enter_context(self._open())
        return self._workers.map(function, tasks)
