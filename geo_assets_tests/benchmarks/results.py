"""What is published of the measurements: rows for ``build/benchmarks.json`` and a table."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

from geo_assets_tests.benchmarks.model import OURS, SECONDS, Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets_tests.benchmarks.runner import Measured


def rows_of(measured: Measured) -> list[dict[str, Any]]:
    """Return one row for each baseline and quantity, as DESIGN §8 names the fields.

    ``ratio`` says how many times better ours is: above 1, ours wins, whatever the quantity.
    """
    benchmark = measured.benchmark
    limits = [each.name for each in benchmark.approaches if each.role == "limit"]
    rows = []
    for quantity in benchmark.quantities:
        ours = measured.middle(OURS, quantity.name)
        limit = measured.middle(limits[0], quantity.name) if limits else None
        for approach in benchmark.approaches:
            baseline = measured.middle(approach.name, quantity.name)
            if approach.role != "baseline" or ours is None or baseline is None:
                continue
            rows.append(
                {
                    "benchmark": _name(benchmark.name, quantity),
                    "ours": _rounded(ours),
                    "baseline": _rounded(baseline),
                    "baseline_name": approach.name,
                    "unit": quantity.unit,
                    "ratio": _rounded(
                        ours / baseline if quantity.more_is_better else baseline / ours
                    ),
                    "goal": quantity.goals.get(approach.name),
                    "limit": None if limit is None else _rounded(limit),
                    "machine": machine(),
                }
            )
    return rows


def table_of(measured: Sequence[Measured], *, title: str) -> Table:
    """Return the rows as a table, with CPU seconds and peak memory beside the times."""
    loads = [sample.load for each in measured for sample in each.samples] or [0.0]
    caption = f"{machine()}; load average {min(loads):.1f} to {max(loads):.1f}"
    if median(loads) > (os.cpu_count() or 1):
        caption += " (others were at work: CPU seconds say more than wall time)"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for column in ("benchmark", "baseline"):
        table.add_column(column, overflow="fold")
    numbers = ("ours", "theirs", "unit", "ratio", "goal", "limit", "CPU s", "peak MB")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    for each in measured:
        for row in rows_of(each):
            is_time = row["benchmark"] == each.benchmark.name
            ours, theirs = each.middle_cost(OURS), each.middle_cost(row["baseline_name"])
            table.add_row(
                row["benchmark"],
                row["baseline_name"],
                f"{row['ours']:.4g}",
                f"{row['baseline']:.4g}",
                row["unit"],
                f"{row['ratio']:.3g} ×",
                "" if row["goal"] is None else f"{row['goal']:g} ×",
                "" if row["limit"] is None else f"{row['limit']:.3g}",
                f"{ours[0]:.2f} / {theirs[0]:.2f}" if is_time else "",
                f"{ours[1] / 1e6:.0f} / {theirs[1] / 1e6:.0f}" if is_time else "",
            )
        for name, reason in each.skipped.items():
            table.add_row(each.benchmark.name, f"{name}: skipped, {reason}")
    return table


def machine() -> str:
    """Return CPU model, cores and Python: what a number without it means nothing."""
    return f"{_cpu_model()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _name(benchmark: str, quantity: Quantity) -> str:
    return benchmark if quantity.name == SECONDS else f"{benchmark}_{quantity.name}"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
