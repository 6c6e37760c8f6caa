"""Who does the work: the same function on many tasks, in threads or on a cluster.

Whatever is cut into blocks (composites, cubes, label rasters) hands its blocks to ``Workers``. A
task says what to do (paths, windows, rules) rather than carrying pixels, and its result depends on
nothing else, so that threads and a cluster give the same bytes.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers(Protocol):
    """Does tasks side by side."""

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield the result of each task, in the order of the tasks.

        Only a few tasks are in flight at once, whatever their number: memory is bounded as long as
        the caller lets go of results. The first exception of a task is raised at its turn; tasks
        that have not begun are then dropped.

        Args:
            function: Depends on its argument alone. For a cluster it and the tasks can be pickled,
                and files they name are seen by every worker.
            tasks: Taken one by one.
        """


class Threads:
    """Threads of this process (``Workers``): for functions that read, or let go of the GIL."""

    def __init__(self, count: int | None = None) -> None:
        """Use ``count`` threads; None: one for each processor this process may use."""
        self.count = count or len(os.sched_getaffinity(0))

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield the result of each task, see ``Workers.map``."""
        with ThreadPoolExecutor(self.count) as pool:
            pending: deque[Future[Result]] = deque()
            try:
                for task in tasks:
                    pending.append(pool.submit(function, task))
                    # One more than threads waits for the first that is free, another to be taken.
                    if len(pending) > self.count + 1:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


if TYPE_CHECKING:
    _: type[Workers] = Threads
