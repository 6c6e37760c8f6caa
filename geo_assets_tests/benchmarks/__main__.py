"""``python -m geo_assets_tests.benchmarks``: ours, the old way and the best peer, side by side."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from geo_assets_tests.benchmarks.model import Disagreement
from geo_assets_tests.benchmarks.registry import chosen_benchmarks
from geo_assets_tests.benchmarks.results import rows_of, table_of
from geo_assets_tests.benchmarks.runner import Measured, StepFailed, measure

BUILD = Path("build")
ROUNDS = 5
PROGRAM = "python -m geo_assets_tests.benchmarks"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and write the rows; return 1 if a benchmark could not be measured."""
    options = _parser().parse_args(arguments)
    # Toy sizes must never pass for measurements.
    name = "benchmarks-quick.json" if options.quick else "benchmarks.json"
    output: Path = options.output or BUILD / name
    rounds = (0 if options.quick else ROUNDS) if options.rounds is None else options.rounds
    console = Console()
    try:
        benchmarks = chosen_benchmarks(options.only)
    except LookupError as error:
        console.print(f"--only: {error.args[0]}", style="red", markup=False)
        return 2
    output.parent.mkdir(parents=True, exist_ok=True)
    measured: list[Measured] = []
    problems = 0
    # On the disk that results go to: a temporary folder in memory would make syncing free.
    with tempfile.TemporaryDirectory(prefix=".benchmarks-", dir=output.parent) as scratch:
        for benchmark in benchmarks:
            with console.status(benchmark.name) as status:
                try:
                    found = measure(
                        benchmark,
                        scratch=Path(scratch).resolve(),
                        rounds=rounds,
                        quick=options.quick,
                        tell=status.update,
                    )
                except (Disagreement, StepFailed) as problem:
                    # The others are worth measuring all the same; the exit status tells.
                    problems += 1
                    console.print(f"not measured: {problem}", style="red", markup=False)
                    continue
            measured.append(found)
            console.print(f"measured {benchmark.name}")
    title = f"medians of {max(rounds, 1)} rounds" + (" (toy sizes)" if options.quick else "")
    wide = console if console.is_terminal else Console(width=160)
    wide.print(table_of(measured, title=title))
    _write(output, [row for each in measured for row in rows_of(each)])
    runs = {each.benchmark.name: [asdict(sample) for sample in each.samples] for each in measured}
    _write(output.with_name(f"{output.stem}-runs.json"), runs)
    console.print(f"written: {output}")
    return 1 if problems else 0


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="measure the benchmarks whose names begin with this (may be repeated)",
    )
    parser.add_argument(
        "--rounds",
        type=_count,
        metavar="N",
        help="timed after the round that compares results; 0: time just that one. "
        "Default: 5, with --quick 0",
    )
    parser.add_argument("--quick", action="store_true", help="toy sizes: shows that it works")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: build/benchmarks.json"
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} rounds; allowed: 0 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
