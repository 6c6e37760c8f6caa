"""Chips converge to what is wanted: nothing is asked twice, lost or believed unread."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import resource
import signal
import threading

import numpy as np
import pytest

from geo_assets.core.chips import ChipPixels, NoImagery
from geo_assets.errors import LockedError, ReadError, StorageError
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.files import Stretch, decode_chip, encode_chip
from geo_assets.storage.chips.state import partition_state
from geo_assets.storage.chips.verification import verify_chips
from geo_assets.storage.journal import pending_journals
from geo_assets.storage.partition_lock import partition_lock
from geo_assets_tests.storage.chips.chip_testing import (
    NOON,
    OTHER_RECIPE,
    SIZE,
    Reader,
    a_spec,
    a_store,
    chip_files,
    facts,
    flip_a_bit,
    pixels_of,
    read_well,
    some_specs,
)


@pytest.fixture
def store(tmp_path):
    return a_store(tmp_path / "results")


def statuses(store):
    return {row.spec.chip_id: row.outcome.status for row in read_rows(store.paths.catalog)}


def truncate(file):
    file.write_bytes(file.read_bytes()[:-20])


def test_a_first_run_gets_every_chip(store):
    specs = some_specs(12)
    report = store.converge(specs, read_well, run_id="run-1")
    assert (report.ok, report.no_imagery, report.failed) == (10, 2, 0)
    assert (report.asked, report.kept, report.removed) == (12, 0, 0)
    for row in read_rows(store.paths.catalog):
        if row.outcome.status == "ok":
            payload = (store.paths.catalog.parent / row.href).read_bytes()
            chip = decode_chip(payload, store.encoding.expect(row.spec.geobox))
            np.testing.assert_array_equal(chip.data, pixels_of(row.spec).data)
            assert row.outcome.size == len(payload)
        else:
            assert row.href is None
            assert row.outcome.error == "no scene"


def test_a_second_run_asks_nothing_and_touches_no_chip(store):
    specs = some_specs(12)
    store.converge(specs, read_well, run_id="run-1")
    files, catalog = chip_files(store), store.paths.catalog.read_bytes()
    reader = Reader(read_well)
    report = store.converge(specs, reader, run_id="run-2")
    assert reader.asked == []
    assert report.kept == 12
    assert chip_files(store) == files
    assert store.paths.catalog.read_bytes() == catalog


def test_two_fresh_folders_hold_equal_bytes(tmp_path):
    stores = [a_store(tmp_path / name) for name in ("first", "second")]
    for store, workers in zip(stores, (1, 4), strict=True):
        store.converge(
            some_specs(12), read_well, run_id=f"run-{workers}", workers=workers, clock=lambda: NOON
        )
    first, second = stores
    contents = [{name: file[0] for name, file in chip_files(store).items()} for store in stores]
    assert contents[0] == contents[1]
    assert first.paths.catalog.read_bytes() == second.paths.catalog.read_bytes()
    assert str(tmp_path).encode() not in first.paths.catalog.read_bytes()


def test_failed_chips_alone_are_asked_again(store):
    specs = some_specs(10)
    failures = {
        specs[2].chip_id: ReadError("connection reset", kind="transient"),
        specs[7].chip_id: ReadError("band B08 absent", kind="permanent"),
    }
    report = store.converge(specs, Reader(failures=failures), run_id="run-1")
    assert (report.ok, report.failed) == (8, 2)
    assert [(e.chip_id, e.kind) for e in report.errors] == [
        (specs[2].chip_id, "transient"),
        (specs[7].chip_id, "permanent"),
    ]
    state = partition_state(store.paths)
    assert (state.retryable_failed, state.permanent_failed) == (1, 1)
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert sorted(reader.asked) == sorted(failures)
    attempts = {r.spec.chip_id: r.outcome.attempts for r in read_rows(store.paths.catalog)}
    assert attempts == {s.chip_id: 2 if s.chip_id in failures else 1 for s in specs}
    assert partition_state(store.paths).retryable_failed == 0


def test_no_imagery_is_an_answer_until_the_recipe_changes(store):
    nothing = Reader(lambda _spec: NoImagery("no scene"))
    store.converge(some_specs(3), nothing, run_id="run-1")
    store.converge(some_specs(3), nothing, run_id="run-2")
    assert len(nothing.asked) == 3
    store.converge(some_specs(3, OTHER_RECIPE), nothing, run_id="run-3")
    assert len(nothing.asked) == 6


def test_pixels_without_any_datum_are_no_imagery(store):
    empty = ChipPixels(np.zeros((3, SIZE, SIZE), "uint16"), np.zeros((SIZE, SIZE), bool))
    remote = encode_chip(empty, a_spec(1), store.encoding)
    answers = {a_spec(0).chip_id: empty, a_spec(1).chip_id: remote}
    report = store.converge(some_specs(2), lambda spec: answers[spec.chip_id], run_id="run-1")
    assert report.no_imagery == 2
    assert list(store.paths.chips.glob("*")) == []


def test_a_changed_recipe_asks_everything_and_counts_attempts_afresh(store):
    store.converge(some_specs(4), pixels_of, run_id="run-1")
    reader = Reader()
    store.converge(some_specs(4, OTHER_RECIPE), reader, run_id="run-2")
    assert len(reader.asked) == 4
    assert {row.outcome.attempts for row in read_rows(store.paths.catalog)} == {1}
    chip = decode_chip(
        (store.paths.chips / f"{a_spec(1).chip_id}.tif").read_bytes(),
        store.encoding.expect(a_spec(1).geobox),
    )
    np.testing.assert_array_equal(chip.data, pixels_of(a_spec(1, OTHER_RECIPE)).data)


def test_chips_that_left_the_grid_go_with_the_publication(store):
    store.converge(some_specs(5), pixels_of, run_id="run-1")
    orphan = store.paths.chips / "of-nobody.tif"
    orphan.write_bytes(b"x")
    report = store.converge(some_specs(3), pixels_of, run_id="run-2")
    assert report.removed == 2
    assert sorted(chip_files(store)) == [f"{spec.chip_id}.tif" for spec in some_specs(3)]
    assert list(statuses(store)) == [spec.chip_id for spec in some_specs(3)]


def test_no_chips_wanted_gives_an_empty_catalog(store):
    store.converge(some_specs(2), pixels_of, run_id="run-1")
    report = store.converge([], pixels_of, run_id="run-2")
    assert (report.ok, report.removed) == (0, 2)
    assert read_rows(store.paths.catalog) == []
    assert chip_files(store) == {}


def test_another_format_asks_again_and_removes_the_old_files(store, tmp_path):
    store.converge(some_specs(3), pixels_of, run_id="run-1")
    other = a_store(tmp_path / "results", "npy")
    other.converge(some_specs(3), pixels_of, run_id="run-2")
    assert sorted(chip_files(other)) == [f"{spec.chip_id}.npy" for spec in some_specs(3)]


@pytest.mark.parametrize("chip_format", ["npy", "png", "jpg", "zip"])
def test_every_format_knows_the_fractions_of_its_pixels(tmp_path, chip_format):
    stretch = Stretch((0, 1, 0), (0.0, 0.0, 0.0), (200.0, 200.0, 200.0))
    store = a_store(tmp_path, chip_format, stretch=stretch)
    pixels = pixels_of(a_spec())
    pixels.data[-1] = 0
    pixels.data[-1, 0] = 7
    store.converge([a_spec()], lambda _spec: pixels, run_id="run-1")
    [row] = read_rows(store.paths.catalog)
    assert row.outcome.label_fraction == 1 / SIZE
    assert row.outcome.valid_fraction == 1
    assert verify_chips(store.paths, store.collection).corrupt == ()


def test_bytes_of_a_server_are_stored_as_they_came_or_refused(store):
    good = encode_chip(pixels_of(a_spec(0)), a_spec(0), store.encoding)
    answers = {a_spec(0).chip_id: good, a_spec(1).chip_id: good, a_spec(2).chip_id: b"<html>"}
    report = store.converge(some_specs(3), lambda spec: answers[spec.chip_id], run_id="run-1")
    assert (report.ok, report.failed) == (1, 2)
    assert {error.kind for error in report.errors} == {"invalid_payload"}
    assert "its transform" in report.errors[0].reason
    assert (store.paths.chips / f"{a_spec(0).chip_id}.tif").read_bytes() == good


def test_verify_names_the_ten_damaged_chips_and_the_next_run_restores_just_them(store):
    specs = some_specs(30)
    store.converge(specs, read_well, run_id="run-1")
    before = chip_files(store)
    ok = sorted(chip for chip, status in statuses(store).items() if status == "ok")
    damaged = ok[::2][:10]
    for position, chip_id in enumerate(damaged):
        file = store.paths.chips / f"{chip_id}.tif"
        if position < 5:
            file.unlink()
        elif position < 8:
            truncate(file)
        else:
            flip_a_bit(file)
    report = verify_chips(store.paths, store.collection)
    assert report.checked == len(ok)
    assert [failure.chip_id for failure in report.corrupt] == damaged
    assert [chip for chip, status in statuses(store).items() if status == "failed"] == damaged
    assert partition_state(store.paths).retryable_failed == 10
    reader = Reader(read_well)
    store.converge(specs, reader, run_id="run-2")
    assert sorted(reader.asked) == damaged
    after = chip_files(store)
    assert {name: file[0] for name, file in after.items()} == {n: f[0] for n, f in before.items()}
    for name in before:
        if name.removesuffix(".tif") not in damaged:
            assert after[name] == before[name]
    assert verify_chips(store.paths, store.collection).corrupt == ()


def test_a_chip_that_is_gone_cut_or_rewritten_is_asked_without_verify(store):
    specs = some_specs(6)
    store.converge(specs, pixels_of, run_id="run-1")
    gone, cut, rewritten = (store.paths.chips / f"{spec.chip_id}.tif" for spec in specs[:3])
    gone.unlink()
    truncate(cut)
    flip_a_bit(rewritten)
    os.utime(rewritten)
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert sorted(reader.asked) == [spec.chip_id for spec in specs[:3]]


def test_an_error_of_the_program_ends_the_run_and_is_no_failed_chip(store):
    specs = some_specs(12)

    def read(spec):
        if spec.chip_id == specs[5].chip_id:
            raise KeyError("a bug")
        return pixels_of(spec)

    with pytest.raises(KeyError, match="a bug"):
        store.converge(specs, read, run_id="run-1", workers=1)
    assert not store.paths.catalog.exists()
    assert partition_state(store.paths).dead_run
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert specs[5].chip_id in reader.asked
    assert not set(reader.asked) & {spec.chip_id for spec in specs[:5]}
    assert set(statuses(store).values()) == {"ok"}
    assert pending_journals(store.paths.journals) == []
    assert not partition_state(store.paths).dead_run


def test_an_interrupted_run_goes_on_where_it_was(store):
    specs = some_specs(12)

    def interrupt(done, _total, _counters):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.converge(specs, pixels_of, run_id="run-1", progress=interrupt)
    reader = Reader()
    report = store.converge(specs, reader, run_id="run-2")
    assert report.kept >= 4
    assert report.kept + len(reader.asked) == 12
    assert {row.outcome.attempts for row in read_rows(store.paths.catalog)} == {1}


def test_a_chip_that_vanishes_during_the_run_gets_no_row_that_says_ok(store):
    specs = some_specs(3)

    def remove_one(done, total, _counters):
        if done == total:
            (store.paths.chips / f"{specs[0].chip_id}.tif").unlink()

    report = store.converge(specs, pixels_of, run_id="run-1", progress=remove_one)
    assert (report.ok, report.failed) == (2, 1)
    assert report.errors[0].kind == "corrupt"


def test_two_runs_never_work_on_one_partition(store):
    with partition_lock(store.paths.lock, run_id="the-first"):
        assert partition_state(store.paths).in_flight
        with pytest.raises(LockedError, match="run the-first"):
            store.converge(some_specs(1), pixels_of, run_id="run-2")
        with pytest.raises(LockedError, match="run the-first"):
            verify_chips(store.paths, store.collection)


def test_no_more_chips_are_read_at_once_than_there_are_workers(store):
    lock, levels, inside = threading.Lock(), [], [0]
    full = threading.Barrier(3)

    def read(spec):
        with lock:
            inside[0] += 1
            levels.append(inside[0])
        full.wait(timeout=30)
        with lock:
            inside[0] -= 1
        return pixels_of(spec)

    store.converge(some_specs(12), read, run_id="run-1", workers=3)
    assert max(levels) == 3


def test_progress_counts_every_outcome(store):
    calls = []
    failures = {a_spec(1).chip_id: ReadError("reset", kind="transient")}
    store.converge(
        some_specs(4),
        Reader(read_well, failures),
        run_id="run-1",
        progress=lambda done, total, counters: calls.append((done, total, dict(counters))),
    )
    assert [call[0] for call in calls] == [1, 2, 3, 4]
    assert calls[-1] == (4, 4, {"ok": 2, "no_imagery": 1, "failed": 1})


def test_no_path_and_no_secret_reaches_the_catalog(store):
    message = (
        "'/home/ada/data/scene.tif' not recognized; https://host/a.tif?sig=CANARY&se=1 "
        "token=CANARY /var/lib/x/y.jp2"
    )
    failures = {a_spec(0).chip_id: ReadError(message, kind="permanent")}
    store.converge(some_specs(1), Reader(failures=failures), run_id="run-1")
    [row] = read_rows(store.paths.catalog)
    assert row.outcome.error == ("'scene.tif' not recognized; https://host/a.tif token=*** y.jp2")


@pytest.mark.parametrize("limit", [50, 200, 600, 3000])
def test_a_full_disk_ends_the_run_with_a_clear_error_and_no_broken_file(store, limit):
    # RLIMIT_FSIZE stands for a full disk: writing beyond it fails with EFBIG.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(
            StorageError, match=r"cannot be written: (File too large|the disk is full)"
        ):
            store.converge(some_specs(40), pixels_of, run_id="run-1", workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not store.paths.catalog.exists()
    for name, (content, _) in chip_files(store).items():
        spec = a_spec(int(name[-9:-4]))
        decode_chip(content, store.encoding.expect(spec.geobox))
    report = store.converge(some_specs(40), pixels_of, run_id="run-2")
    assert report.ok == 40


def test_rows_tell_when_their_outcome_was_found(store):
    ticks = itertools.count()
    store.converge(
        some_specs(2),
        pixels_of,
        run_id="run-1",
        workers=1,
        clock=lambda: NOON + dt.timedelta(seconds=next(ticks)),
    )
    rows = read_rows(store.paths.catalog)
    assert [row.outcome.updated.second for row in rows] == [0, 1]
    assert facts(store)[0][0] == a_spec(0)
