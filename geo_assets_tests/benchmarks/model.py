"""What a benchmark is: inputs, the approaches it compares, and the quantities it reports.

Nothing here starts a process (``runner.py``) or computes a ratio (``results.py``).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

OURS = "ours"
SECONDS = ""
"""Name of the quantity that every benchmark has: the wall time of its approach."""

Role = Literal["ours", "baseline", "limit"]


class Disagreement(Exception):  # noqa: N818  # a finding about two results, not an error of ours
    """Two approaches gave different results: their times must not be compared."""


@dataclass
class Stopwatch:
    """Times what an approach does, and takes down what else it finds worth comparing."""

    measures: dict[str, float] = field(default_factory=dict)
    """By name of the quantity."""
    cpu_seconds: float = 0.0
    """User and system time of the main quantity's span, of this process and ended children."""
    peak_bytes: int = 0
    """Greatest resident set of the process up to the end of that span."""

    @contextmanager
    def time(self, quantity: str = SECONDS) -> Iterator[None]:
        """Take the seconds of a ``with`` block."""
        cpu, start = _cpu_seconds(), time.perf_counter()
        yield
        self.measures[quantity] = time.perf_counter() - start
        if quantity == SECONDS:
            self.cpu_seconds = _cpu_seconds() - cpu
            self.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def note(self, quantity: str, value: float) -> None:
        """Take down a value that is not a time of this run, such as the size of a file."""
        self.measures[quantity] = value


Run = Callable[[Path, Path, Stopwatch], None]
"""Loads from the folder of inputs, does the work on the stopwatch, leaves its result in the folder
of outputs. It runs in a process of its own, so what it imports and warms up before it starts the
watch is not counted."""


@dataclass(frozen=True)
class Approach:
    """One way to do the work."""

    name: str
    run: Run
    role: Role = "baseline"
    """``limit``: no rival, but what the hardware or the decoder needs at the very least."""
    requires: tuple[str, ...] = ()
    """Modules without which it is skipped."""

    def missing(self) -> list[str]:
        """Return the modules it requires that are not installed."""
        return [module for module in self.requires if find_spec(module) is None]


@dataclass(frozen=True)
class Quantity:
    """What is compared."""

    name: str = SECONDS
    """Appended to the benchmark's name."""
    unit: str = "s"
    goals: Mapping[str, float] = field(default_factory=dict)
    """How many times better ours is meant to become, by name of the baseline."""
    more_is_better: bool = False


@dataclass(frozen=True)
class Benchmark:
    """Approaches to one piece of work, on the same inputs."""

    name: str
    make: Callable[[Path, int], None]
    """Writes the inputs of a size into a folder; seeded."""
    size: int
    """Pixels a side."""
    quick_size: int
    """The same for a run that shows that the benchmark works, and measures nothing."""
    approaches: tuple[Approach, ...]
    check: Callable[[Path, Mapping[str, Path]], Mapping[str, Mapping[str, float]]]
    """Compares results: gets the inputs and each approach's outputs, by name (without limits);
    returns quantities of the results, by approach and name; raises ``Disagreement``."""
    quantities: tuple[Quantity, ...] = (Quantity(),)

    def approach(self, name: str) -> Approach:
        """Return the approach of a name."""
        return next(approach for approach in self.approaches if approach.name == name)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
