"""A cube whose days are read again: what cannot be read now takes nothing from what lies there."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from geo_assets.core.smoothing import SmoothingRules
from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.cubes.opening import open_cube
from geo_assets_tests.products.cubes.test_builder import builder_of, files_of, scenes, stored
from geo_assets_tests.sources.memory_source import Fault, MemorySource, grid, random_scene

AWAY = Fault("transient", error="the server is away")
LEAF = Fault(rows=slice(40, 60), cols=slice(40, 60))


def failing(source, *faults):
    """All scenes with faults of their own, and those."""
    source.change(*(scene.with_faults(*scene.faults, *faults) for scene in scenes()))


def test_a_retry_while_the_server_is_away_takes_no_day_from_the_cube(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    source.change(scenes()[3].with_faults(LEAF))
    builder = builder_of(source)
    holed, _ = builder.build(path)
    before = files_of(path)
    assert holed.failed

    failing(source, AWAY)
    facts, how = builder.build(path)
    assert (how, facts.days, facts.failed) == ("kept", holed.days, holed.failed)
    [(day, reason)] = facts.put_off
    assert day == "2021-04-11"
    assert "the server is away" in reason
    assert files_of(path) == before

    source.change(*scenes())
    healed, how = builder.build(path)
    assert (how, healed.failed, healed.put_off) == ("healed", (), ())


def test_a_day_of_which_less_can_be_read_stays_and_one_of_which_more_can_is_taken(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    less = Fault(rows=slice(40, 45), cols=slice(64, 66))
    source.change(scenes()[3].with_faults(LEAF, less))
    builder = builder_of(source)
    builder.build(path)
    before = files_of(path)

    more = Fault(rows=slice(0, 90), cols=slice(0, 60))
    source.change(scenes()[3].with_faults(more))
    assert builder.build(path)[1] == "kept"
    assert files_of(path) == before

    source.change(scenes()[3].with_faults(less))
    facts, how = builder.build(path)
    assert (how, facts.put_off) == ("healed", ())
    assert {window.col for window in facts.failed} != {0}


def test_another_reason_for_the_same_window_changes_no_cube(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    builder = builder_of(source)
    source.change(scenes()[3].with_faults(replace(LEAF, kind="transient", error="HTTP 503")))
    assert builder.build(path)[0].failed
    before = files_of(path)
    source.change(scenes()[3].with_faults(replace(LEAF, kind="transient", error="timeout")))
    facts, how = builder.build(path)
    assert how == "kept"
    assert files_of(path) == before
    assert {window.error for window in facts.failed} == {"scene C1: timeout"}, "told as now"
    # Mixed reasons cut the same pixels otherwise.
    left, right = (
        replace(LEAF, cols=cols, kind="transient", error=error)
        for cols, error in ((slice(40, 50), "HTTP 503"), (slice(50, 60), "timeout"))
    )
    source.change(scenes()[3].with_faults(left, right))
    assert builder.build(path)[1] == "kept"
    # Another kind asks for another answer, so the cube tells it.
    source.change(scenes()[3].with_faults(replace(LEAF, kind="invalid_payload")))
    assert builder.build(path)[1] != "kept"


def test_a_repository_is_not_given_up_unread_for_want_of_icechunk(tmp_path, monkeypatch):
    before, path = tmp_path / "c.icechunk", tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    builder = builder_of(source)
    builder.build(before)
    monkeypatch.setitem(sys.modules, "icechunk", None)
    source.change(scenes()[3].with_faults(AWAY))
    with pytest.raises(ReadError, match=r"c\.icechunk: is left .*icechunk cannot be imported"):
        builder.build(path, replaces=[before])
    assert not path.exists()
    source.change(*scenes())
    assert builder.build(path, replaces=[before])[1] == "built"


@pytest.mark.parametrize("suffix", [".zarr", ".icechunk"])
def test_a_larger_scene_takes_no_place_of_one_that_cannot_be_read_now(tmp_path, suffix):
    path = tmp_path / f"c{suffix}"
    day = [
        random_scene(1, "A", "2021-05-01", grid(100, 40)),
        random_scene(2, "B", "2021-05-01", grid(100, 90, col=40)),
    ]
    source = MemorySource.of(day[0])
    small, _ = builder_of(source).build(path)
    before = open_cube(path).load()
    both = MemorySource.of(*day)
    both.change(day[0].with_faults(AWAY))
    facts, how = builder_of(both).build(path)
    assert (how, [name for name, _ in facts.put_off]) == ("kept", ["2021-05-01"])
    assert facts.unread == ("A",)
    xr.testing.assert_identical(open_cube(path).load(), before)
    both.change(day[0])
    facts, how = builder_of(both).build(path)
    assert (how, facts.put_off, facts.unread) == ("extended", (), ())
    assert facts.valid_share > small.valid_share


def test_what_cannot_be_read_where_nothing_was_seen_keeps_no_other_scene_waiting(tmp_path):
    path = tmp_path / "c.zarr"
    west = random_scene(1, "A", "2021-05-01", grid(100, 64))
    east = random_scene(2, "B", "2021-05-01", grid(100, 60, col=70))
    source = MemorySource.of(west)
    builder_of(source).build(path)
    both = MemorySource.of(west, east.with_faults(AWAY))
    facts, how = builder_of(both).build(path)
    assert (how, facts.put_off, facts.unread) == ("extended", (), ("B",))


def test_scenes_processed_anew_that_cannot_be_read_leave_the_day_until_they_can(tmp_path):
    path, sound = tmp_path / "c.zarr", tmp_path / "sound.zarr"
    source = MemorySource.of(*scenes())
    builder_of(source).build(path)
    _, before = stored(path)

    moved = [replace(scene, baseline="05.11") for scene in scenes()]
    source.change(*(scene.with_faults(AWAY) for scene in moved))
    facts, how = builder_of(source).build(path)
    assert how == "kept"
    assert [day for day, _ in facts.put_off] == list(facts.days)
    np.testing.assert_array_equal(stored(path)[1], before)

    source.change(*moved)
    assert builder_of(source).build(path)[1] == "extended"
    builder_of(source).build(sound)
    assert files_of(path) == files_of(sound)


def test_a_cube_of_other_rules_is_not_given_up_for_one_without_a_day(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    builder_of(source).build(path)
    before = files_of(path)
    failing(source, AWAY)
    with pytest.raises(ReadError, match=r"c\.zarr: is left as it is, .* 3 of its 3 days") as e:
        builder_of(source, outliers="mask").build(path)
    assert e.value.kind == "transient"
    assert files_of(path) == before
    source.change(*scenes()[:3], scenes()[3].with_faults(AWAY))
    with pytest.raises(ReadError, match=r"1 of its 3 days could not be read: scene C1.*remove"):
        builder_of(source, outliers="mask").build(path)
    assert files_of(path) == before
    # Where there is none, an empty one names the windows.
    failing(source, AWAY)
    facts, how = builder_of(source).build(tmp_path / "new.zarr")
    assert (how, facts.days) == ("built", ())
    assert facts.failed


def test_a_cube_takes_the_place_of_one_elsewhere_only_with_all_of_its_days(tmp_path):
    path, other = tmp_path / "c.zarr", tmp_path / "c.icechunk"
    source = MemorySource.of(*scenes())
    builder_of(source).build(path)
    source.change(*scenes()[:3], scenes()[3].with_faults(AWAY))
    with pytest.raises(ReadError, match=r"c\.zarr: is left as it is, .* 1 of its 3 days"):
        builder_of(source).build(other, replaces=[path])
    assert not other.exists()
    source.change(*scenes())
    assert builder_of(source).build(other, replaces=[path])[1] == "built"
    xr.testing.assert_identical(open_cube(other).load(), open_cube(path).load())


def test_what_a_catalogue_corrects_of_offset_and_nodata_is_read_again(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    builder = builder_of(source)
    builder.build(path)
    for said in ({"offset": -0.1, "scale": 1e-4}, {"nodata": 7}):
        items = source.items
        items[2]["assets"]["B08"]["raster:bands"] = [said]
        source.reads.clear()
        corrected = replace(builder, items=items)
        assert corrected.build(path)[1] == "extended"
        assert {name for name, _ in source.reads} == {"B1"}
        assert corrected.build(path)[1] == "kept"


def test_a_smoothed_copy_that_was_cut_short_costs_no_scene(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    builder = builder_of(source, smoothing=SmoothingRules())
    builder.build(path)
    before = files_of(path)
    chunk = path / "ndvi_smoothed/c/1/0/0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    source.reads.clear()
    assert builder.build(path)[1] == "rewritten"
    assert not source.reads
    assert files_of(path) == before


def test_without_icechunk_nothing_is_read_in_vain(tmp_path, monkeypatch):
    source = MemorySource.of(*scenes())
    monkeypatch.setitem(sys.modules, "icechunk", None)
    with pytest.raises(StorageError, match=r"pip install 'geo-assets\[icechunk\]'"):
        builder_of(source).build(tmp_path / "c.icechunk")
    assert not source.reads


@pytest.mark.parametrize(
    ("suffix", "added", "days"),
    [(".zarr", "C1", 1), (".icechunk", "C1", 4), (".icechunk", "B1", 2)],
    ids=["links", "before all others, which move", "at the end"],
)
def test_room_is_asked_for_the_days_that_are_written_and_no_others(
    tmp_path, monkeypatch, suffix, added, days
):
    path = tmp_path / f"c{suffix}"
    source = MemorySource.of(*(scene for scene in scenes() if scene.id != added))
    builder_of(source).build(path)
    free = 64 * 1024**2 + days * 90 * 110 * 2
    monkeypatch.setattr("geo_assets.storage.disk.free_bytes", lambda _: free - 1)
    assert builder_of(source).build(path)[1] == "kept"
    source.change(*scenes())
    source.reads.clear()
    with pytest.raises(StorageError, match="cube c: needs up to"):
        builder_of(source).build(path)
    assert not source.reads
    monkeypatch.setattr("geo_assets.storage.disk.free_bytes", lambda _: free)
    assert builder_of(source).build(path)[1] == "extended"


def test_without_a_scene_that_meets_it_a_cube_is_empty_in_either_store(tmp_path):
    nothing = MemorySource.of()
    for suffix in (".zarr", ".icechunk"):
        facts, how = builder_of(nothing).build(tmp_path / f"c{suffix}")
        assert (how, facts.days) == ("built", ())


def test_a_day_that_is_dropped_does_not_decide_the_dtype(tmp_path):
    cloudy = random_scene(1, "A", "2021-05-01", grid(100, 130), dtype="int16")
    cloudy = replace(cloudy, scl=np.full_like(cloudy.scl, 8))
    source = MemorySource.of(cloudy, random_scene(2, "B", "2021-05-11", grid(100, 130)))
    facts, _ = builder_of(source, raw_bands=("B04",), min_clear=0.1).build(tmp_path / "c.zarr")
    assert (facts.days, facts.left_out) == (("2021-05-11",), ("2021-05-01",))


def _as_of_an_earlier_version(path):
    root = path / "zarr.json"
    said = json.loads(root.read_text())
    attrs = said["attributes"]
    attrs["geo_assets_sha256"] = attrs.pop("geo_assets_checksum")
    attrs["geo_assets_rules"] = "of then"
    attrs["geo_assets_days"] = attrs["geo_assets_days"].replace('"digest"', '"sha256"')
    root.write_text(json.dumps(said))


def test_a_cube_of_an_earlier_version_keeps_its_days_until_all_can_be_read_again(tmp_path):
    path, sound = tmp_path / "c.zarr", tmp_path / "s.zarr"
    source = MemorySource.of(*scenes())
    builder_of(source).build(path)
    builder_of(source).build(sound)
    _as_of_an_earlier_version(path)
    before = files_of(path)
    source.change(*scenes()[:3], scenes()[3].with_faults(AWAY))
    with pytest.raises(ReadError, match="1 of its 3 days could not be read"):
        builder_of(source).build(path)
    assert files_of(path) == before
    source.change(*scenes())
    assert builder_of(source).build(path)[1] == "built"
    assert files_of(path) == files_of(sound)


@pytest.mark.parametrize("lost", ["time/c/0", "x/c/0", "ndvi/zarr.json", "time/zarr.json"])
def test_what_follows_from_the_days_is_written_again_without_reading_any(tmp_path, lost):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    builder_of(source).build(path)
    before = files_of(path)
    (path / lost).unlink()
    failing(source, AWAY)
    source.reads.clear()
    assert builder_of(source).build(path)[1] == "rewritten"
    assert source.reads == []
    assert files_of(path) == before


def a_cube_and_one_of_its_chunks(tmp_path, store):
    """The cube, its source and values, and the largest file of a day's chunks."""
    path = tmp_path / f"c.{store}"
    source = MemorySource.of(*scenes())
    builder_of(source).build(path)
    folder = path / "ndvi/c/1" if store == "zarr" else path / "chunks"
    files = [file for file in folder.rglob("*") if file.is_file()]
    return path, source, open_cube(path).load(), max(files, key=lambda file: file.stat().st_size)


@pytest.mark.parametrize("store", ["zarr", "icechunk"])
def test_a_damaged_day_that_cannot_be_read_now_stays_until_it_can_be(tmp_path, store):
    path, source, values, chunk = a_cube_and_one_of_its_chunks(tmp_path, store)
    chunk.write_bytes(bytes(chunk.stat().st_size))
    failing(source, AWAY)
    facts, how = builder_of(source).build(path)
    assert (how, len(facts.days), len(facts.put_off)) == ("kept", 3, 1)
    assert "the server is away" in facts.put_off[0][1]
    source.change(*scenes())
    assert builder_of(source).build(path)[1] == "healed"
    xr.testing.assert_equal(open_cube(path).load(), values)


@pytest.mark.parametrize("store", ["zarr", "icechunk"])
def test_a_damaged_day_that_cannot_be_read_now_keeps_no_other_waiting(tmp_path, store):
    """Smoothing reads all days, and those of Icechunk are read where they move."""
    path, sound = tmp_path / f"c.{store}", tmp_path / f"s.{store}"
    changes = {"smoothing": SmoothingRules("linear")}
    a1, a2, b1, c1 = scenes()
    source = MemorySource.of(a1, a2)
    builder_of(source, **changes).build(path)
    folder = path / "ndvi/c" if store == "zarr" else path / "chunks"
    chunks = [file for file in folder.rglob("*") if file.is_file()]
    for chunk in chunks:
        chunk.write_bytes(bytes(chunk.stat().st_size))
    source.change(a1.with_faults(AWAY), a2.with_faults(AWAY), b1, c1)
    facts, how = builder_of(source, **changes).build(path)
    assert how == "extended"
    assert [str(day) for day, _ in facts.put_off] == ["2021-05-01"]
    # What is left of it is still known to be damaged, and comes back with its source.
    source.change(*scenes())
    assert builder_of(source, **changes).build(path)[1] == "healed"
    builder_of(source, **changes).build(sound)
    xr.testing.assert_identical(open_cube(path).load(), open_cube(sound).load())


@pytest.mark.parametrize("store", ["zarr", "icechunk"])
def test_a_frame_that_says_it_holds_less_than_nothing_is_made_again(tmp_path, store):
    """Blosc's answer to that is a SystemError."""
    path, source, values, chunk = a_cube_and_one_of_its_chunks(tmp_path, store)
    content = bytearray(chunk.read_bytes())
    content[7] ^= 0x80
    chunk.write_bytes(content)
    assert builder_of(source).build(path)[1] == "healed"
    xr.testing.assert_equal(open_cube(path).load(), values)


@pytest.mark.parametrize("harm", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")])
def test_an_icechunk_cube_whose_manifests_are_lost_is_made_anew(tmp_path, harm):
    path = tmp_path / "c.icechunk"
    source = MemorySource.of(*scenes())
    facts, _ = builder_of(source, min_clear=0.9).build(path)
    assert facts.left_out
    values = open_cube(path).load()
    for manifest in (path / "manifests").iterdir():
        harm(manifest)
    assert builder_of(source, min_clear=0.9).build(path)[0].left_out == facts.left_out
    xr.testing.assert_equal(open_cube(path).load(), values)
    assert builder_of(source, min_clear=0.9).build(path)[1] == "kept"
