from __future__ import annotations

import os
import subprocess
import sys

import pytest

from geo_assets.compute import (
    COMPUTE_VARIABLE,
    MEMORY_VARIABLE,
    WORKERS_VARIABLE,
    ComputeChoice,
    WorkersAtFirstUse,
    compute_choice,
)
from geo_assets.core.workers import Threads
from geo_assets.errors import ComputeError
from geo_assets.resources import Compute


@pytest.fixture(autouse=True)
def says_nothing(monkeypatch):
    for name in (COMPUTE_VARIABLE, WORKERS_VARIABLE, MEMORY_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_threads_do_the_work_by_default(tmp_path):
    with Compute().open(tmp_path) as workers:
        assert isinstance(workers, Threads)
        assert workers.count == Threads().count
        assert list(workers.map(abs, [-1, 2])) == [1, 2]


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv(COMPUTE_VARIABLE, "local")
    monkeypatch.setenv(WORKERS_VARIABLE, "3")
    monkeypatch.setenv(MEMORY_VARIABLE, "1.5 GiB")
    assert compute_choice() == ComputeChoice("local", workers=3, memory="1.5 GiB")
    monkeypatch.setenv(COMPUTE_VARIABLE, "tcp://scheduler.example:8786")
    assert compute_choice() == ComputeChoice("address", "tcp://scheduler.example:8786")
    monkeypatch.setenv(COMPUTE_VARIABLE, "threads")
    assert compute_choice() == ComputeChoice("threads", workers=3)


def test_what_the_resource_is_given_beats_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(COMPUTE_VARIABLE, "local")
    monkeypatch.setenv(WORKERS_VARIABLE, "3")
    with Compute(where="threads", workers=2).open(tmp_path) as workers:
        assert isinstance(workers, Threads)
        assert workers.count == 2


@pytest.mark.parametrize(
    "value",
    ["dask", "Threads", "localhost:8786", "tcp://host", "tcp://host:0", "tcp://host:99999",
     "http://host:8787", "tcp://user:secret@host:1", "tcp://host:8786/"],
)  # fmt: skip
def test_another_word_is_refused_by_name(monkeypatch, tmp_path, value):
    monkeypatch.setenv(COMPUTE_VARIABLE, value)
    with pytest.raises(ComputeError) as refused:
        Compute().open(tmp_path)
    assert str(refused.value) == (
        f"GEO_ASSETS_COMPUTE={value!r}: allowed are threads, local, or the address of a Dask "
        "scheduler, tcp://host:port"
    )


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://[::1]:1", "tcp://dask_a.b:80"])
def test_addresses_of_a_scheduler(address):
    assert compute_choice(address).address == address


@pytest.mark.parametrize("value", ["0", "-1", "two", "1025", "1.5", "²"])
def test_a_number_of_workers_that_is_none_is_refused_by_name(monkeypatch, value):
    monkeypatch.setenv(WORKERS_VARIABLE, value)
    with pytest.raises(ComputeError, match=r"^GEO_ASSETS_WORKERS='.+': allowed is a whole number"):
        compute_choice()


@pytest.mark.parametrize("value", ["2", "2G", "much", "GiB", "-1GB", "1e3GB"])
def test_a_size_that_is_none_is_refused_by_name(monkeypatch, value):
    monkeypatch.setenv(MEMORY_VARIABLE, value)
    with pytest.raises(ComputeError, match=r"^GEO_ASSETS_WORKER_MEMORY='.+': allowed is a number"):
        compute_choice()


def test_a_choice_says_what_it_is():
    assert str(compute_choice()) == "threads of one process"
    assert str(compute_choice("threads", 4)) == "4 threads of one process"
    assert str(compute_choice("local", 2, "2GiB")) == "2 local Dask worker processes of 2GiB"
    assert str(compute_choice("tcp://a:1")) == "Dask scheduler tcp://a:1"


def test_workers_that_cannot_be_opened_are_missed_by_the_first_task():
    def nobody():
        raise ComputeError("nobody is there")

    with WorkersAtFirstUse(nobody) as workers, pytest.raises(ComputeError, match="nobody"):
        workers.map(abs, [1])


IN_THREADS = """
import sys
from geo_assets.resources import Compute
from pathlib import Path
with Compute().open(Path(".")) as workers:
    assert list(workers.map(abs, [-1, 2])) == [1, 2]
print(sorted({name.partition(".")[0] for name in sys.modules} & {"dask", "distributed"}))
"""


def test_in_threads_nothing_of_dask_is_loaded():
    done = subprocess.run(
        [sys.executable, "-c", IN_THREADS],
        capture_output=True,
        text=True,
        env=os.environ | {COMPUTE_VARIABLE: "threads"},
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
