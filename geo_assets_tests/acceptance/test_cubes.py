"""Cubes day by day: in any order, killed at any moment, by several writers at once."""

from __future__ import annotations

import random
import shutil
import time

import numpy as np
import pytest
import xarray as xr

from geo_assets.storage.atomic import is_temporary, sweep_temporaries
from geo_assets.storage.cubes.opening import open_cube
from geo_assets_tests.acceptance.cube_writing import (
    DAYS,
    SERVER,
    build_and_tell,
    builder,
    compete,
    put_day,
)
from geo_assets_tests.acceptance.support import digest, files_below, say

STORES = ["zarr", "icechunk"]
KILLS, ALL_KILLS = 8, 100
WRITERS, COMMITS = 4, 25


def loaded(path) -> xr.Dataset:
    with open_cube(path) as cube:
        return cube.load()


def files_of(path):
    return {file.relative_to(path): digest(file) for file in files_below(path)}


@pytest.mark.parametrize("store", STORES)
def test_days_one_by_one_shuffled_and_twice_are_all_at_once(tmp_path, store):
    whole, grown = tmp_path / f"whole.{store}", tmp_path / f"grown.{store}"
    builder().build(whole)
    order = random.Random(4).sample(DAYS, len(DAYS))  # noqa: S311  # a test's order, no secret
    known: list[str] = []
    for day in order:
        known.append(day)
        made = builder(known, twice=True)
        facts, how = made.build(grown)
        assert how == ("built" if len(known) == 1 else "extended")
        assert facts.days == tuple(sorted(known))
        assert {str(np.datetime64(made.source.scenes[n].day)) for n, _ in made.source.reads} == {
            day
        }
        again = builder(known, twice=True)
        assert again.build(grown) == (facts, "kept")
        assert again.source.reads == []
    xr.testing.assert_identical(loaded(grown), loaded(whole))
    if store == "zarr":
        assert files_of(grown) == files_of(whole)


def test_both_stores_hold_the_same(tmp_path):
    for store in STORES:
        builder().build(tmp_path / f"cube.{store}")
    xr.testing.assert_identical(*(loaded(tmp_path / f"cube.{store}") for store in STORES))


@pytest.mark.parametrize("store", STORES)
def test_days_that_are_no_longer_wanted_or_changed_are_replaced(tmp_path, store):
    path, whole = tmp_path / f"cube.{store}", tmp_path / f"whole.{store}"
    builder().build(path)
    fewer = [*DAYS[:2], *DAYS[4:]]
    made = builder(fewer)
    changed = made.source.scenes["S4"]
    made.source.change(type(changed)(**{**vars(changed), "baseline": "05.10"}))
    object.__setattr__(made, "items", made.source.items)
    facts, how = made.build(path)
    assert (how, facts.days) == ("extended", tuple(fewer))
    assert {name for name, _ in made.source.reads} == {"S4"}
    made.build(whole)
    xr.testing.assert_identical(loaded(path), loaded(whole))


@pytest.fixture(scope="module", params=STORES)
def states(request, tmp_path_factory):
    """A cube before and after days were added in its middle, and how long publishing takes."""
    folder = tmp_path_factory.mktemp("states")
    old, new = folder / f"old.{request.param}", folder / f"new.{request.param}"
    builder(DAYS[::2]).build(old)
    seconds = []
    for _ in range(3):
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(old, new)
        process, tell = start(new)
        assert tell.recv() == "begin"
        begin = time.monotonic()
        assert tell.recv() == "end"
        seconds.append(time.monotonic() - begin)
        process.join()
        assert process.exitcode == 0
    return old, loaded(old), new, loaded(new), sorted(seconds)[1]


def start(path):
    tell, told = SERVER.Pipe()
    process = SERVER.Process(target=build_and_tell, args=(path, DAYS, told))
    process.start()
    told.close()
    return process, tell


@pytest.mark.timeout(3600)
def test_a_killed_publication_leaves_the_old_or_the_new_cube_and_one_retry_completes(
    states, full, tmp_path, record_property
):
    old_path, old, new_path, new, window = states
    draw = random.Random(11)  # noqa: S311  # moments of a test, no secret
    ends = {"old": 0, "new": 0, "finished": 0}
    for number in range(ALL_KILLS if full else KILLS):
        folder = tmp_path / str(number)
        path = folder / old_path.name
        shutil.copytree(old_path, path)
        process, tell = start(path)
        assert tell.recv() == "begin"
        time.sleep(draw.uniform(0, window))
        process.kill()
        process.join()
        found = loaded(path)
        if tell.poll() and not died_before(tell):
            ends["finished"] += 1
            xr.testing.assert_identical(found, new)
        elif found.sizes["time"] == old.sizes["time"]:
            ends["old"] += 1
            xr.testing.assert_identical(found, old)
        else:
            ends["new"] += 1
            xr.testing.assert_identical(found, new)
        sweep_temporaries(folder)
        assert builder().build(path)[1] in {"extended", "kept"}
        xr.testing.assert_identical(loaded(path), new)
        if path.suffix == ".zarr":
            assert files_of(path) == files_of(new_path)
        assert [p for p in folder.rglob("*") if is_temporary(p.name)] == []
        shutil.rmtree(folder)
    record_property("ends", ends)
    say(f"\n{old_path.suffix}: kills within {window:.3f} s of publishing: {ends}")
    assert ends["old"] + ends["new"] >= sum(ends.values()) // 3, "kills came too late"


def died_before(tell) -> bool:
    """Whether a killed writer's pipe ends without the word that it had ended."""
    try:
        return tell.recv() != "end"
    except EOFError:
        return True


def competition(path, days, *, locked):
    """Let writers put days side by side; return what was acknowledged, by day."""
    put_day(path, "2020-12-31", 1)
    told = []
    for writer in range(WRITERS):
        ours, theirs = SERVER.Pipe()
        process = SERVER.Process(
            target=compete,
            args=(path, writer, days[writer::WRITERS], theirs),
            kwargs={"locked": locked},
        )
        process.start()
        theirs.close()
        told.append((process, ours))
    for _, ours in told:
        assert ours.recv() == "ready"
    for _, ours in told:
        ours.send("go")
    acknowledged = {}
    for process, ours in told:
        while (said := ours.recv()) is not None:
            acknowledged[said[0]] = said[1]
        process.join()
    return acknowledged


def stored(path):
    cube = loaded(path)
    days = cube["time"].values.astype("datetime64[D]").astype(str)
    return {
        day: set(np.rint(layer * 1e4).ravel().astype(int).tolist())
        for day, layer in zip(days, cube["ndvi"].values, strict=True)
    }


@pytest.mark.timeout(3600)
def test_four_writers_at_once_lose_no_acknowledged_commit(tmp_path, full):
    days = np.arange("2021-01-01", "2025-01-01", dtype="datetime64[D]").astype(str).tolist()
    for turn in range(20 if full else 1):
        path = tmp_path / f"{turn}.icechunk"
        wanted = days[: WRITERS * COMMITS]
        acknowledged = competition(path, wanted, locked=True)
        assert sorted(acknowledged) == wanted
        there = stored(path)
        assert {day: there[day] for day in wanted} == {d: {v} for d, v in acknowledged.items()}
        assert set(there) == {"2020-12-31", *wanted}


@pytest.mark.timeout(1800)
def test_without_the_lock_acknowledged_commits_are_lost(tmp_path):
    """That the lock is needed on a local disk, and that the test above can fail."""
    days = np.arange("2021-01-01", "2025-01-01", dtype="datetime64[D]").astype(str).tolist()
    lost = count = 0
    for turn in range(30):  # now and then five in a row lose none
        path = tmp_path / f"{turn}.icechunk"
        acknowledged = competition(path, days[: WRITERS * COMMITS], locked=False)
        there = stored(path)
        lost += sum(there.get(day) != {value} for day, value in acknowledged.items())
        count += len(acknowledged)
        if lost:
            break
    say(f"\nwithout the lock {lost} of {count} acknowledged commits were lost")
    assert lost > 0
