"""kill -9 at any moment of a chip run loses nothing and leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys

import pytest

from geo_assets.storage.atomic import is_temporary
from geo_assets.storage.catalog import read_rows
from geo_assets.storage.chip_files import check_payload
from geo_assets.storage.chip_state import partition_state
from geo_assets.storage.journal import pending_journals, read_journal
from geo_assets.storage.partition_lock import is_locked
from geo_assets_tests.conftest import REPOSITORY
from geo_assets_tests.storage.chip_testing import Reader, a_store, facts, read_well, some_specs

CHIPS = 60


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = a_store(tmp_path_factory.mktemp("undisturbed"))
    store.converge(some_specs(CHIPS), read_well, run_id="run-1")
    return store


def kill_a_run(store, results, run_id, after_lines):
    """Start a run and kill it once its journal has so many lines, or once it has ended."""
    command = [sys.executable, "-m", "geo_assets_tests.storage.chip_run"]
    process = subprocess.Popen(
        [*command, str(results), run_id, str(CHIPS)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    journal = store.paths.journals / f"{run_id}.jsonl"
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= after_lines:
            break
    process.kill()
    process.wait()


def assert_everything_is_whole(store):
    for row in read_rows(store.paths.catalog):
        if row.outcome.status == "ok":
            payload = store.paths.file(row.href).read_bytes()
            assert hashlib.sha256(payload).hexdigest() == row.outcome.sha256
            check_payload(payload, store.encoding.expect(row.spec.geobox))
    results = store.paths.catalog.parents[2]
    assert [path for path in results.rglob("*") if is_temporary(path.name)] == []
    assert pending_journals(store.paths.journals) == []


@pytest.mark.parametrize(
    "seed",
    [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 30))],
)
def test_one_more_run_after_a_kill_gives_the_catalog_of_an_undisturbed_one(
    tmp_path, undisturbed, seed
):
    store = a_store(tmp_path)
    after_lines = random.Random(seed).randint(1, CHIPS)  # noqa: S311 - a test's moment, no secret
    kill_a_run(store, tmp_path, "killed", after_lines)
    assert not is_locked(store.paths.lock)
    journalled = {
        record.chip_id
        for journal in pending_journals(store.paths.journals)
        for record in read_journal(journal)
    }
    assert partition_state(store.paths).dead_run == (not store.paths.catalog.exists())
    reader = Reader(read_well)
    store.converge(some_specs(CHIPS), reader, run_id="after")
    assert not journalled & set(reader.asked)
    assert facts(store) == facts(undisturbed)
    assert_everything_is_whole(store)


def test_three_kills_in_a_row_are_survived(tmp_path, undisturbed):
    store = a_store(tmp_path)
    for number, after_lines in enumerate((2, 7, 12)):
        kill_a_run(store, tmp_path, f"killed-{number}", after_lines)
    store.converge(some_specs(CHIPS), read_well, run_id="after")
    assert facts(store) == facts(undisturbed)
    assert_everything_is_whole(store)


def test_a_kill_during_publication_is_survived(tmp_path, undisturbed, monkeypatch):
    """Every step of the publication is the last one once."""
    steps = ("write_stamps", "write_catalog", "pending_journals")
    for number, step in enumerate(steps):
        results = tmp_path / step
        store = a_store(results)

        def die(*_arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(f"geo_assets.storage.chip_store.{step}", die)
            with pytest.raises(KeyboardInterrupt):
                store.converge(some_specs(CHIPS), read_well, run_id=f"killed-{number}")
        reader = Reader(read_well)
        store.converge(some_specs(CHIPS), reader, run_id="after")
        assert reader.asked == []
        assert facts(store) == facts(undisturbed)
        assert_everything_is_whole(store)
