"""Measures a benchmark: results compared first, then rounds in which the approaches take turns.

Every run is a fresh process, so that no approach inherits another's memory, warm caches of code,
or threads. Round 0, whose results are compared, also fills the page cache; its times count only
where no other round is asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from geo_assets_tests.benchmarks.model import Approach, Benchmark, Disagreement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class StepFailed(Exception):  # noqa: N818  # reads as what happened
    """A process of a benchmark ended badly; the message holds the end of what it said."""


@dataclass(frozen=True)
class Sample:
    """One timed run of one approach."""

    approach: str
    round: int
    """0: the one whose results were compared."""
    measures: Mapping[str, float]
    cpu_seconds: float
    peak_bytes: int
    load: float
    """The machine's load average of the minute before: above 1, others were at work too."""


@dataclass(frozen=True)
class Measured:
    """What came out of one benchmark."""

    benchmark: Benchmark
    samples: list[Sample]
    quality: Mapping[str, Mapping[str, float]]
    """Quantities of the compared results, by approach."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Reasons, by approach."""

    def middle(self, approach: str, quantity: str) -> float | None:
        """Return the median of a quantity; None where the approach does not have it."""
        if quantity in self.quality.get(approach, {}):
            return self.quality[approach][quantity]
        samples = self._counted(approach)
        values = [sample.measures[quantity] for sample in samples if quantity in sample.measures]
        return median(values) if values else None

    def middle_cost(self, approach: str) -> tuple[float, float]:
        """Return the medians of CPU seconds and of peak bytes."""
        samples = self._counted(approach)
        return (
            median(sample.cpu_seconds for sample in samples),
            median(sample.peak_bytes for sample in samples),
        )

    def _counted(self, approach: str) -> list[Sample]:
        samples = [sample for sample in self.samples if sample.approach == approach]
        return [sample for sample in samples if sample.round > 0] or samples


def measure(
    benchmark: Benchmark,
    *,
    scratch: Path,
    rounds: int,
    quick: bool,
    tell: Callable[[str], None],
) -> Measured:
    """Measure a benchmark in a scratch folder; what it puts there is removed afterwards.

    Args:
        benchmark: What to measure.
        scratch: Where inputs and results go for the while.
        rounds: Timed rounds after the one that compares.
        quick: Toy sizes.
        tell: Is told what goes on.

    Raises:
        Disagreement: If the results differ; nothing is timed then.
        StepFailed: If a step does not end well.
    """
    skipped = {
        approach.name: f"{', '.join(missing)} is not installed"
        for approach in benchmark.approaches
        if (missing := approach.missing())
    }
    approaches = [each for each in benchmark.approaches if each.name not in skipped]
    folder = scratch / benchmark.name
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    try:
        size = benchmark.quick_size if quick else benchmark.size
        tell(f"{benchmark.name}: making inputs")
        _step(benchmark, folder, do="make", inputs=inputs, size=size)
        tell(f"{benchmark.name}: comparing results")
        samples, quality = _compare(benchmark, approaches, folder, inputs)
        for number in range(1, rounds + 1):
            for approach in approaches:
                tell(f"{benchmark.name}: round {number} of {rounds}: {approach.name}")
                output = folder / "output"
                samples.append(_run(benchmark, approach, number, inputs, output))
                shutil.rmtree(output)
    finally:
        shutil.rmtree(folder)
    return Measured(benchmark, samples, quality, skipped)


def _compare(
    benchmark: Benchmark, approaches: list[Approach], folder: Path, inputs: Path
) -> tuple[list[Sample], Mapping[str, Mapping[str, float]]]:
    outputs = {
        approach.name: folder / f"output-{number}" for number, approach in enumerate(approaches)
    }
    samples = [_run(benchmark, each, 0, inputs, outputs[each.name]) for each in approaches]
    results = {each.name: outputs[each.name] for each in approaches if each.role != "limit"}
    answer = _step(benchmark, folder, do="check", inputs=inputs, outputs=results)
    for output in outputs.values():
        shutil.rmtree(output)
    if "disagreement" in answer:
        raise Disagreement(f"{benchmark.name}: {answer['disagreement']}")
    return samples, answer["quality"]


def _run(
    benchmark: Benchmark, approach: Approach, number: int, inputs: Path, output: Path
) -> Sample:
    output.mkdir()
    os.sync()  # nobody pays for what another left to be written
    load = os.getloadavg()[0]
    answer = _step(
        benchmark, output.parent, do="run", inputs=inputs, approach=approach.name, output=output
    )
    return Sample(approach=approach.name, round=number, load=load, **answer)


def _step(benchmark: Benchmark, folder: Path, **step: Any) -> dict[str, Any]:
    answer = folder / "answer.json"
    asked = json.dumps({"benchmark": benchmark.name, **step}, default=str)  # paths as text
    command = [sys.executable, "-m", f"{__package__}.step", asked, str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepFailed(f"{asked} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(answer.read_text())
    return found
