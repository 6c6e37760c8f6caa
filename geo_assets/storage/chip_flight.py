"""Many chips at a time, but never many in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets.core.chips import ChipSpec
    from geo_assets.storage.chip_memory import Remembered

Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called after each chip with the number done, the number asked, and the outcomes by status."""


def in_bounded_flight(
    ask: Sequence[ChipSpec],
    work: Callable[[ChipSpec], Remembered],
    workers: int,
    progress: Progress | None,
) -> dict[str, Remembered]:
    """Run ``work`` in threads, with no more than two chips a thread under way or waiting."""
    answers: dict[str, Remembered] = {}
    counters: Counter[str] = Counter(ok=0, no_imagery=0, failed=0)
    waiting = iter(ask)
    flight: dict[Future[Remembered], ChipSpec] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="chip") as pool:
        try:
            while True:
                for spec in islice(waiting, 2 * workers - len(flight)):
                    flight[pool.submit(work, spec)] = spec
                if not flight:
                    return answers
                landed, _ = wait(flight, return_when=FIRST_COMPLETED)
                for future in landed:
                    answer = answers[flight.pop(future).chip_id] = future.result()
                    counters[answer.outcome.status] += 1
                    if progress is not None:
                        progress(len(answers), len(ask), counters)
        except BaseException:
            # Chips that are being written end up in the journal; those that wait are not begun.
            pool.shutdown(cancel_futures=True)
            raise
