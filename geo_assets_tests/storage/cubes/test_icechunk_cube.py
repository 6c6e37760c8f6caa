"""Icechunk repositories: their snapshots, garbage and lock, and life without icechunk."""

from __future__ import annotations

import datetime as dt
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
import zarr

from geo_assets.errors import LockedError, StorageError
from geo_assets.storage.cubes import icechunk_cube
from geo_assets.storage.cubes.icechunk_cube import (
    collect_garbage,
    latest_snapshot,
    open_repository,
    writing_alone,
)
from geo_assets.storage.cubes.opening import open_cube
from geo_assets_tests.acceptance.cube_writing import DAYS, builder

HOUR = dt.timedelta(hours=1)


def snapshots(path):
    return [each.id for each in open_repository(path).ancestry(branch="main")]


def chunk_bytes(path):
    return sum(file.stat().st_size for file in (path / "chunks").iterdir())


def test_the_snapshot_is_among_the_facts_and_changes_with_the_cube_alone(tmp_path):
    path = tmp_path / "c.icechunk"
    facts, _ = builder(DAYS[:2]).build(path)
    assert facts.snapshot == latest_snapshot(path) == snapshots(path)[0]
    again, how = builder(DAYS[:2]).build(path)
    assert (again.snapshot, how) == (facts.snapshot, "kept")
    more, _ = builder(DAYS[:3]).build(path)
    assert more.snapshot not in {facts.snapshot, None}
    past = open_repository(path).readonly_session(snapshot_id=facts.snapshot)
    assert zarr.open_array(past.store, path="ndvi", mode="r").shape[0] == 2


def test_garbage_of_an_abandoned_write_is_collected_once_it_is_old_and_no_sooner(tmp_path):
    path = tmp_path / "c.icechunk"
    builder(DAYS[:3]).build(path)
    before, sound = chunk_bytes(path), open_cube(path).load()
    session = open_repository(path).writable_session("main")
    array = zarr.open_array(session.store, path="ndvi", mode="a")
    array[...] = np.random.default_rng(1).integers(0, 9999, array.shape)  # never committed
    assert chunk_bytes(path) > before
    assert collect_garbage(path, HOUR) == 0
    assert chunk_bytes(path) > before

    for file in path.rglob("*"):
        os.utime(file, (file.stat().st_mtime - 7200,) * 2)
    assert collect_garbage(path, HOUR) > 0
    assert chunk_bytes(path) == before
    assert open_cube(path).load().identical(sound)
    assert builder(DAYS[:3]).build(path)[1] == "kept"


def test_what_was_current_within_the_age_stays_for_its_readers_however_old_it_is(
    tmp_path, monkeypatch
):
    path = tmp_path / "c.icechunk"
    for days in (DAYS[:1], DAYS[:2], DAYS[1:3]):
        builder(days).build(path)
    latest, current, superseded, *_ = open_repository(path).ancestry(branch="main")

    def reader():
        session = open_repository(path).readonly_session(snapshot_id=current.id)
        return zarr.open_array(session.store, path="ndvi", mode="r")

    early, wanted = reader(), reader()[...]
    for file in path.rglob("*"):
        os.utime(file, (superseded.written_at.timestamp() - 7200,) * 2)
    # An hour ago the last commit had not been made yet.
    now = current.written_at + (latest.written_at - current.written_at) / 2 + HOUR
    clock = SimpleNamespace(UTC=dt.UTC, datetime=SimpleNamespace(now=lambda _: now))
    monkeypatch.setattr(icechunk_cube, "dt", clock)
    assert collect_garbage(path, HOUR) > 0
    np.testing.assert_array_equal(early[...], wanted)
    np.testing.assert_array_equal(reader()[...], wanted)
    assert snapshots(path)[:2] == [latest.id, current.id]
    assert superseded.id not in snapshots(path)


def test_garbage_that_may_belong_to_a_write_under_way_is_not_asked_for(tmp_path):
    with pytest.raises(StorageError, match="may belong to a write that is under way"):
        collect_garbage(tmp_path / "c.icechunk", dt.timedelta(minutes=59))


def test_a_second_writer_waits_and_gives_up_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(icechunk_cube, "_PATIENCE_SECONDS", 0.05)
    path = tmp_path / "c.icechunk"
    with writing_alone(path), pytest.raises(LockedError, match="another process writes to it"):
        builder(DAYS[:1]).build(path)
    assert not path.exists()
    builder(DAYS[:1]).build(path)


def test_without_icechunk_a_plain_sentence_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "c.icechunk"
    builder(DAYS[:1]).build(path)
    monkeypatch.setitem(sys.modules, "icechunk", None)
    for work in (lambda: open_cube(path), lambda: builder(DAYS[:2]).build(path)):
        with pytest.raises(StorageError, match=r"pip install 'geo-assets\[icechunk\]'"):
            work()


def test_a_damaged_repository_is_named(tmp_path):
    path = tmp_path / "c.icechunk"
    builder(DAYS[:1]).build(path)
    for file in (path / "snapshots").iterdir():
        os.truncate(file, 10)
    with pytest.raises(StorageError, match="cannot be read as a cube"):
        open_cube(path)


@pytest.mark.parametrize("damage", ["refs", "snapshots", "manifests", "chunks"])
def test_a_damaged_repository_is_made_anew_by_the_next_build(tmp_path, damage):
    path, sound = tmp_path / "c.icechunk", tmp_path / "sound.icechunk"
    builder(DAYS[:2]).build(path)
    for file in (path / damage).rglob("*"):
        if file.is_file():
            os.truncate(file, 0)
    builder(DAYS[:2]).build(path)
    builder(DAYS[:2]).build(sound)
    with open_cube(path) as cube, open_cube(sound) as wanted:
        xr.testing.assert_identical(cube.load(), wanted.load())
