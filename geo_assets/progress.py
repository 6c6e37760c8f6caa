"""Progress of long work in the log: count, rate and remaining time, a line now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0


def logged(
    log: logging.Logger,
    what: str,
    every: float = SECONDS_BETWEEN_LINES,
    clock: Callable[[], float] = time.monotonic,
    detail: Callable[[], str] | None = None,
) -> Callable[[int, int], None]:
    """Return a function that is told (done, in all) and logs a line every few seconds.

    Args:
        log: Where the lines go.
        what: What is being done; begins each line.
        every: Least seconds between two lines; work shorter than that logs nothing.
        clock: Seconds, rising.
        detail: Says what else is worth knowing at the end of a line.
    """
    started = last = clock()

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = clock()
        if now - last < every or done == 0:
            return
        last = now
        rate = done / (now - started)
        left = max(total - done, 0) / rate
        shown = f"{rate:.1f}" if rate >= 0.1 else f"{rate:.1g}"
        more = "" if detail is None else f", {detail()}"
        log.info(f"{what} {done} of {total}, {shown} per second, {left:.0f} s left{more}")

    return tell
