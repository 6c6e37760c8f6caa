"""One step of a benchmark in a process of its own: make the inputs, run an approach, or check.

Called by ``runner.py`` with the step as JSON and the file that receives the answer.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geo_assets_tests.benchmarks.model import Benchmark, Disagreement, Stopwatch
from geo_assets_tests.benchmarks.registry import find_benchmark


def main() -> None:
    step: dict[str, Any] = json.loads(sys.argv[1])
    benchmark = find_benchmark(step["benchmark"])
    Path(sys.argv[2]).write_text(json.dumps(_answer(benchmark, step)))


def _answer(benchmark: Benchmark, step: dict[str, Any]) -> dict[str, Any]:
    inputs = Path(step["inputs"])
    if step["do"] == "make":
        benchmark.make(inputs, step["size"])
        return {}
    if step["do"] == "run":
        watch = Stopwatch()
        benchmark.approach(step["approach"]).run(inputs, Path(step["output"]), watch)
        return asdict(watch)
    outputs = {name: Path(folder) for name, folder in step["outputs"].items()}
    try:
        return {"quality": benchmark.check(inputs, outputs)}
    except Disagreement as disagreement:
        return {"disagreement": str(disagreement)}


if __name__ == "__main__":
    main()
