"""Many chips at a time, but never many in memory.

Threads read, encode and check; one more puts what they made where it stays, many chips at a time,
while they go on. A chip counts as done once that has happened.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from geo_assets.core.chips import ChipOutcome, ChipSpec

Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called after each chip with the number done, the number asked, and the outcomes by status."""

_MOST_WAITING_BYTES = 64 * 2**20
"""Chips that wait or are being put: above, some must be put, and no more are asked until then."""

_TURN_SECONDS, _TURN_BYTES = 0.02, 4 * 2**20
"""How long a thread goes on to its next chip, and with how many bytes, before it hands over what it
has made: to wake another thread for each chip would take longer than to cut one."""


@dataclass(frozen=True)
class LandedChip:
    """A chip that was answered and is not yet put where it stays."""

    spec: ChipSpec
    outcome: ChipOutcome
    payload: bytes | None
    """None unless ``ok``."""


@dataclass(frozen=True)
class _Turn:
    """What one thread made, and what ended it."""

    landed: list[LandedChip]
    error: BaseException | None


@dataclass
class ChipFlight:
    """The chips of one run on their way.

    Attributes:
        ask: The chips, in the order in which they are asked.
        work: Gets one chip; called from many threads.
        put: Makes a batch last; called from one thread.
        batch: Chooses the ids to put next among those that wait (``Shelf.batch``).
        workers: Chips that are worked on at a time.
        progress: See ``Progress``.
    """

    ask: Sequence[ChipSpec]
    work: Callable[[ChipSpec], LandedChip]
    put: Callable[[Sequence[LandedChip]], None]
    batch: Callable[..., Collection[str]]
    workers: int
    progress: Progress | None
    _done: Counter[str] = field(default_factory=lambda: Counter(ok=0, no_imagery=0, failed=0))
    _waiting: dict[str, LandedChip] = field(default_factory=dict)
    _putting: tuple[Future[None], list[LandedChip]] | None = None
    _flying: set[Future[_Turn]] = field(default_factory=set)
    _asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Get and put every chip.

        An error of ``work``, ``put`` or ``progress`` ends the flight. What was under way then is
        put where it stays all the same, unless it was putting that failed.
        """
        with (
            ThreadPoolExecutor(self.workers, thread_name_prefix="chip") as pool,
            ThreadPoolExecutor(1, thread_name_prefix="put") as putter,
        ):
            try:
                while self._fly(pool, putter):
                    pass
            except BaseException:
                # Chips that are under way end up in the journal; those that wait are not begun.
                with self._lock:
                    self._asked = len(self.ask)
                pool.shutdown(cancel_futures=True)
                self._land_what_flew()
                raise

    def _fly(self, pool: ThreadPoolExecutor, putter: ThreadPoolExecutor) -> bool:
        full = self._bytes_to_put() >= _MOST_WAITING_BYTES
        if not full:
            turns = min(2 * self.workers - len(self._flying), len(self.ask) - self._asked)
            for _ in range(turns):
                self._flying.add(pool.submit(self._take_turn))
        must = full or not self._flying
        if self._putting is None and (batch := self._next_batch(must=must)):
            self._putting = (putter.submit(self.put, batch), batch)
        under_way: set[Future[Any]] = {*self._flying}
        if self._putting is not None:
            under_way.add(self._putting[0])
        if not under_way:
            return False
        wait(under_way, return_when=FIRST_COMPLETED)
        for future in [each for each in self._flying if each.done()]:
            self._flying.remove(future)
            self._land(future.result())
            if (error := future.result().error) is not None:
                raise error
        if self._putting is not None and self._putting[0].done():
            future_put, batch = self._putting
            future_put.result()
            self._putting = None
            for chip in batch:
                self._done[chip.outcome.status] += 1
                if self.progress is not None:
                    self.progress(self._done.total(), len(self.ask), dict(self._done))
        return True

    def _take_turn(self) -> _Turn:
        """Work on chips one after the other, for a short while."""
        landed: list[LandedChip] = []
        begin, size = time.monotonic(), 0
        try:
            while (
                time.monotonic() - begin < _TURN_SECONDS
                and size < _TURN_BYTES
                and (spec := self._next_asked()) is not None
            ):
                landed.append(self.work(spec))
                size += len(landed[-1].payload or b"")
        except BaseException as error:  # raised by ``_fly``, after what landed before it
            return _Turn(landed, error)
        return _Turn(landed, None)

    def _next_asked(self) -> ChipSpec | None:
        with self._lock:
            if self._asked == len(self.ask):
                return None
            self._asked += 1
            return self.ask[self._asked - 1]

    def _land(self, turn: _Turn) -> None:
        self._waiting |= {chip.spec.chip_id: chip for chip in turn.landed}

    def _next_batch(self, *, must: bool) -> list[LandedChip]:
        chosen = self.batch(self._waiting, must=must) if self._waiting else ()
        return [self._waiting.pop(chip_id) for chip_id in chosen]

    def _bytes_to_put(self) -> int:
        under_way = self._putting[1] if self._putting is not None else []
        return sum(len(chip.payload or b"") for chip in (*under_way, *self._waiting.values()))

    def _land_what_flew(self) -> None:
        if self._putting is not None:
            self._putting[0].result()
        for future in self._flying:
            if future.done() and not future.cancelled():
                self._land(future.result())
        while batch := self._next_batch(must=True):
            self.put(batch)
