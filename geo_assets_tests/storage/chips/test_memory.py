"""What a run remembers of those before it: copied results, lost state, journals of dead runs."""

from __future__ import annotations

import os
import shutil

import pytest

from geo_assets.errors import ReadError
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.verification import verify_chips
from geo_assets.storage.journal import pending_journals
from geo_assets_tests.storage.chips.chip_testing import (
    OTHER_RECIPE,
    Reader,
    a_spec,
    a_store,
    chip_files,
    flip_a_bit,
    pixels_of,
    some_specs,
)


@pytest.fixture
def store(tmp_path):
    return a_store(tmp_path / "results")


def statuses(store):
    return {row.spec.chip_id: row.outcome.status for row in read_rows(store.paths.catalog)}


def test_results_that_were_copied_without_their_times_are_not_asked(store, tmp_path):
    specs = some_specs(6)
    store.converge(specs, pixels_of, run_id="run-1")
    shutil.copytree(tmp_path / "results", tmp_path / "copy", copy_function=shutil.copyfile)
    copy, reader = a_store(tmp_path / "copy"), Reader()
    report = copy.converge(specs, reader, run_id="run-2")
    assert (report.kept, reader.asked) == (6, [])


def test_a_touched_chip_survives_a_source_that_is_away(store):
    specs = some_specs(2)
    store.converge(specs, pixels_of, run_id="run-1")
    os.utime(store.paths.chips / f"{specs[0].chip_id}.tif", ns=(1, 1))
    away = {spec.chip_id: ReadError("no route to host", kind="transient") for spec in specs}
    report = store.converge(specs, Reader(failures=away), run_id="run-2")
    assert (report.ok, report.failed) == (2, 0)


def test_results_without_their_state_folder_are_hashed_and_not_asked(store, tmp_path):
    specs = some_specs(6)
    store.converge(specs, pixels_of, run_id="run-1")
    shutil.rmtree(tmp_path / "results" / ".state")
    flip_a_bit(store.paths.chips / f"{specs[4].chip_id}.tif")
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert reader.asked == [specs[4].chip_id]


def leave_a_journal(store, specs, read=pixels_of):
    """End a run after its last chip and before its publication."""

    def interrupt(done, total, _counters):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.converge(specs, read, run_id="dead", progress=interrupt)


def test_a_dead_runs_chip_counts_only_with_the_checksum_of_its_journal(store):
    specs = some_specs(5)
    leave_a_journal(store, specs)
    flip_a_bit(store.paths.chips / f"{specs[1].chip_id}.tif")
    (store.paths.chips / f"{specs[2].chip_id}.tif").unlink()
    (store.paths.chips / f".{specs[3].chip_id}.tif.0123456789abcdef.tmp").write_bytes(b"half")
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert sorted(reader.asked) == [specs[1].chip_id, specs[2].chip_id]
    assert sorted(chip_files(store)) == [f"{spec.chip_id}.tif" for spec in specs]


def test_a_dead_runs_failure_is_asked_again_and_its_attempt_counts(store):
    specs = some_specs(3)
    failures = {specs[0].chip_id: ReadError("reset", kind="transient")}
    leave_a_journal(store, specs, Reader(failures=failures))
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert reader.asked == [specs[0].chip_id]
    assert [row.outcome.attempts for row in read_rows(store.paths.catalog)] == [2, 1, 1]


def test_a_file_without_a_journal_line_is_asked_again(store):
    leave_a_journal(store, some_specs(3))
    [journal] = pending_journals(store.paths.journals)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    reader = Reader()
    store.converge(some_specs(3), reader, run_id="run-2")
    assert len(reader.asked) == 1
    assert set(statuses(store).values()) == {"ok"}


def test_a_dead_run_of_another_recipe_is_not_believed(store):
    store.converge(some_specs(4), pixels_of, run_id="run-1")
    leave_a_journal(store, some_specs(4, OTHER_RECIPE))
    assert verify_chips(store.paths, store.collection).corrupt == ()
    reader = Reader()
    store.converge(some_specs(4), reader, run_id="run-3")
    assert len(reader.asked) == 4
    assert {row.spec.recipe for row in read_rows(store.paths.catalog)} == {a_spec().recipe}
    assert verify_chips(store.paths, store.collection).corrupt == ()


def test_a_journal_that_outlived_its_publication_changes_nothing(store):
    specs = some_specs(4)
    failures = {specs[0].chip_id: ReadError("reset", kind="transient")}
    leave_a_journal(store, specs, Reader(failures=failures))
    [journal] = pending_journals(store.paths.journals)
    content = journal.read_bytes()
    store.converge(specs, Reader(failures=failures), run_id="run-2")
    journal.write_bytes(content)
    reader = Reader()
    store.converge(specs, reader, run_id="run-3")
    assert reader.asked == [specs[0].chip_id]
    assert read_rows(store.paths.catalog)[0].outcome.attempts == 3
