"""The benchmarks run, compare results before they time them, and write what DESIGN §8 names.

How fast anything is is nobody's business here.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from geo_assets_tests.benchmarks.__main__ import main
from geo_assets_tests.benchmarks.clustering_quality import compare_clusterings
from geo_assets_tests.benchmarks.model import (
    OURS,
    Approach,
    Benchmark,
    Disagreement,
    Quantity,
)
from geo_assets_tests.benchmarks.registry import MODULES, all_benchmarks, chosen_benchmarks
from geo_assets_tests.benchmarks.results import rows_of
from geo_assets_tests.benchmarks.runner import Measured, Sample, StepFailed, measure

KEYS = {
    "benchmark",
    "ours",
    "baseline",
    "baseline_name",
    "unit",
    "ratio",
    "goal",
    "limit",
    "machine",
}


def test_a_quick_run_of_two_benchmarks_agrees_and_writes_the_rows(tmp_path):
    output = tmp_path / "benchmarks.json"
    command = [sys.executable, "-m", "geo_assets_tests.benchmarks", "--quick"]
    chosen = ["--only", "median_composite_12", "--only", "chips_rerun"]
    done = subprocess.run(
        [*command, *chosen, "--output", output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(output.read_text())
    assert {row["benchmark"] for row in rows} == {"median_composite_12", "chips_rerun_2000"}
    for row in rows:
        assert row.keys() == KEYS
        assert min(row["ours"], row["baseline"]) > 0
        assert row["ratio"] == pytest.approx(row["baseline"] / row["ours"], rel=1e-4)
        assert row["unit"] == "s"
        assert "cores, Python" in row["machine"]
    medians = [row for row in rows if row["benchmark"] == "median_composite_12"]
    assert {row["baseline_name"]: row["goal"] for row in medians}["numpy.nanmedian"] == 50
    assert all(row["limit"] > 0 for row in medians)
    assert all(row["limit"] is row["goal"] is None for row in rows if row not in medians)
    assert "median_composite_12" in done.stdout
    # Nothing is left of inputs and results.
    assert {path.name for path in tmp_path.iterdir()} == {
        "benchmarks.json",
        "benchmarks-runs.json",
    }


def test_every_benchmark_has_ours_a_baseline_and_goals_for_baselines_that_exist():
    benchmarks = all_benchmarks()
    names = [benchmark.name for benchmark in benchmarks]
    assert len(set(names)) == len(names)
    assert all(name.startswith(MODULES) for name in names)
    for benchmark in benchmarks:
        roles = [approach.role for approach in benchmark.approaches]
        assert roles.count("ours") == 1
        assert roles.count("baseline") >= 1
        assert roles.count("limit") <= 1
        assert benchmark.approach(OURS).role == "ours"
        baselines = {each.name for each in benchmark.approaches if each.role == "baseline"}
        for quantity in benchmark.quantities:
            assert quantity.goals.keys() <= baselines


def test_names_choose_benchmarks_by_their_beginning():
    names = [benchmark.name for benchmark in chosen_benchmarks(["median_composite", "cube_write"])]
    assert {"median_composite_12", "median_composite_cogs_36", "cube_write_12"} <= set(names)
    assert all(name.startswith(("median_composite", "cube_write")) for name in names)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path, capsys):
    assert main(["--only", "nonsense", "--output", str(tmp_path / "rows.json")]) == 2
    said = capsys.readouterr().out
    assert "nonsense" in said
    assert "kmeans_spatial_10m" in said


def test_a_ratio_above_one_means_ours_is_better_whatever_the_quantity():
    quantities = (
        Quantity(goals={"peer": 3}),
        Quantity("size", "MB"),
        Quantity("agreement", "share", more_is_better=True),
    )
    approaches = (
        Approach(OURS, _nothing, "ours"),
        Approach("peer", _nothing),
        Approach("least", _nothing, "limit"),
    )
    benchmark = Benchmark("b", _nothing, 1, 1, approaches, _nothing, quantities)
    samples = [
        Sample(name, number, {"": seconds, "size": size}, 1.0, 10, 0.0)
        for name, size, times in (
            (OURS, 4, (2, 9, 1)),
            ("peer", 2, (8, 6, 5)),
            ("least", 1, (1, 1, 1)),
        )
        for number, seconds in enumerate((99, *times))
    ]
    quality = {OURS: {"agreement": 0.9}, "peer": {"agreement": 0.6}}
    rows = {row["benchmark"]: row for row in rows_of(Measured(benchmark, samples, quality))}
    facts = {
        name: (row["ours"], row["baseline"], row["ratio"], row["goal"], row["limit"])
        for name, row in rows.items()
    }
    assert facts == {
        "b": (2, 6, 3, 3, 1),
        "b_size": (4, 2, 0.5, None, 1),
        "b_agreement": (0.9, 0.6, 1.5, None, None),
    }


def test_an_approach_whose_library_is_missing_is_skipped_with_the_reason():
    assert Approach("peer", _nothing, requires=("numpy", "no_such_module")).missing() == [
        "no_such_module"
    ]


def test_results_that_disagree_are_never_timed(tmp_path, monkeypatch):
    steps = []

    def answer(_benchmark, _folder, **step):
        steps.append(step["do"])
        if step["do"] == "check":
            return {"disagreement": "7 pixels differ"}
        return {"measures": {"": 1.0}, "cpu_seconds": 1.0, "peak_bytes": 1}

    monkeypatch.setattr("geo_assets_tests.benchmarks.runner._step", answer)
    approaches = (Approach(OURS, _nothing, "ours"), Approach("peer", _nothing))
    benchmark = Benchmark("b", _nothing, 1, 1, approaches, _nothing)
    with pytest.raises(Disagreement, match="b: 7 pixels differ"):
        measure(benchmark, scratch=tmp_path, rounds=2, quick=True, tell=_nothing)
    assert steps == ["make", "run", "run", "check"]  # without the two rounds
    assert not list(tmp_path.iterdir())


def test_a_benchmark_that_fails_is_told_and_ends_the_run_badly(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise StepFailed("[run] failed: no memory")

    monkeypatch.setattr("geo_assets_tests.benchmarks.__main__.measure", fail)
    output = tmp_path / "rows.json"
    assert main(["--quick", "--only", "cube_write", "--output", str(output)]) == 1
    assert "not measured: [run] failed: no memory" in capsys.readouterr().out
    assert json.loads(output.read_text()) == []


def test_clusterings_are_compared_whatever_the_order_of_their_labels():
    features = np.array([[0.0, 0.1, 5.0, 5.1, 9.0, 9.1]])
    labels = {
        OURS: np.array([1, 1, 2, 2, 3, 3], np.uint8),
        "peer": np.array([3, 3, 1, 1, 2, 2], np.uint8),
    }
    quality = compare_clusterings(features, labels, 3)
    assert quality[OURS]["agreement"] == quality["peer"]["agreement"] == 1
    assert quality[OURS]["spread"] == pytest.approx(0.0025)


def test_a_worse_clustering_of_ours_is_a_disagreement():
    features = np.array([[0.0, 0.1, 5.0, 5.1, 9.0, 9.1]])
    labels = {
        OURS: np.array([1, 2, 3, 3, 3, 3], np.uint8),
        "peer": np.array([1, 1, 2, 2, 3, 3], np.uint8),
    }
    with pytest.raises(Disagreement, match="mean squared distance"):
        compare_clusterings(features, labels, 3)


def _nothing(*_):
    """Stand in for work that a test does not do."""
