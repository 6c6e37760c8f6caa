"""The resident set of a run of 20,000 small chips: no more than that of a tenth of them needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from geo_assets_tests.benchmarks import earth_engine_server as server
from geo_assets_tests.benchmarks.model import (
    OURS,
    Approach,
    Benchmark,
    Disagreement,
    Quantity,
    Stopwatch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIZE = 32
A_TENTH = "a tenth of the chips"
MOST_MB = 600
COUNT = "count"


def make(inputs: Path, size: int) -> None:
    (inputs / COUNT).write_text(str(size))


def run(inputs: Path, output: Path, watch: Stopwatch, *, share: float) -> None:
    from geo_assets.sources.earth_engine.policy import RequestPolicy

    count = max(int(int((inputs / COUNT).read_text()) * share), 1)
    bands = ",".join((*server.BANDS, server.VALID))
    with server.serving("--canned", "lattice", "--canned-bands", bands) as url:
        policy = RequestPolicy(requests_per_second=None)
        source = server.our_source(url, policy, output)
        chips, specs = server.our_chips(source, server.chip_grids(count, SIZE))
        store = server.store(output)
        with chips, watch.time():
            report = store.converge(specs, chips.read, run_id="run", workers=48)
    if report.ok != count:
        raise AssertionError(f"{report.ok} of {count} chips are ok")
    watch.note("memory", watch.peak_bytes / 1e6)
    watch.note("rate", count / watch.measures[""])


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    count = int((inputs / COUNT).read_text())
    files = sum(1 for _ in outputs[OURS].rglob("*.npy"))
    if files != count:
        raise Disagreement(f"{files} of {count} chips")
    return {}


BENCHMARKS = [
    Benchmark(
        name="earth_engine_memory",
        make=make,
        size=20_000,
        quick_size=40,
        approaches=(
            Approach(OURS, partial(run, share=1.0), "ours"),
            Approach(A_TENTH, partial(run, share=0.1)),
        ),
        check=check,
        quantities=(
            Quantity(),
            Quantity("memory", "MB", {A_TENTH: 1 / 1.5}),
            Quantity("rate", "chips/s", more_is_better=True),
        ),
    )
]
