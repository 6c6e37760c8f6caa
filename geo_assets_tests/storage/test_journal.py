"""The journal keeps every outcome that was told it, whatever happens to its end."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.core.chips import ChipOutcome
from geo_assets.errors import StorageError
from geo_assets.storage.journal import Journal, JournalRecord, pending_journals, read_journal
from geo_assets_tests.storage.chips.chip_testing import NOON, RECIPE

OUTCOME = ChipOutcome(status="ok", attempts=1, updated=NOON, size=7, checksum="1220" + "a" * 64)


def a_record(number=0, outcome=OUTCOME):
    return JournalRecord(f"chip-{number}", RECIPE, outcome)


def test_outcomes_come_back_in_the_order_they_happened(tmp_path):
    failed = ChipOutcome(
        status="failed", attempts=3, updated=NOON, error_kind="transient", error="ä\n'\""
    )
    records = [a_record(0), a_record(1, failed), a_record(0, dataclasses.replace(OUTCOME, size=8))]
    with Journal(tmp_path, "run-1") as journal:
        for record in records:
            journal.append(record)
            assert read_journal(journal.path)[-1] == record
    assert read_journal(journal.path) == records
    assert pending_journals(tmp_path) == [journal.path]


@given(cut=st.integers(1, 200))
def test_a_torn_last_line_costs_that_line_alone(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder, "run-1") as journal:
        for number in range(3):
            journal.append(a_record(number))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-cut])
    survivors = read_journal(journal.path)
    assert survivors == [a_record(n) for n in range(3 if cut == 1 else 2)]
    with Journal(folder, "run-1") as journal:
        journal.append(a_record(9))
    assert read_journal(journal.path) == [*survivors, a_record(9)]


def test_outcomes_of_before_checksums_told_their_algorithm_are_read(tmp_path):
    with Journal(tmp_path, "run-1") as journal:
        journal.append(a_record())
    line = journal.path.read_bytes().replace(b'"checksum":"1220', b'"sha256":"')
    assert b"sha256" in line
    journal.path.write_bytes(line)
    assert read_journal(journal.path) == [a_record()]


def test_many_threads_write_whole_lines(tmp_path):
    with Journal(tmp_path, "run-1") as journal, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: journal.append(a_record(number)), range(200)))
    records = read_journal(journal.path)
    assert {record.chip_id for record in records} == {f"chip-{n}" for n in range(200)}
    assert len(records) == 200


def test_no_folder_means_no_journals(tmp_path):
    assert pending_journals(tmp_path / "absent") == []


@pytest.mark.parametrize("run_id", ["", "../up", "a/b", ".hidden", "a\0"])
def test_a_run_id_that_is_no_file_name_is_refused(tmp_path, run_id):
    with pytest.raises(StorageError, match="run id"):
        Journal(tmp_path, run_id)


def test_foreign_lines_are_skipped_and_counted_in_the_log(tmp_path, caplog):
    path = tmp_path / "x.jsonl"
    path.write_text('{}\n[]\n7\n{"chip_id": "a", "recipe": "b", "outcome": {"updated": 1}}\n')
    assert read_journal(path) == []
    assert len(caplog.records) == 4
