"""The time-major copy and the exported copy hold what the cube holds, and say whence they come."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import zarr

from geo_assets.core.smoothing import SmoothingRules
from geo_assets.errors import StorageError
from geo_assets.products.cubes.rules import IndexRule
from geo_assets.storage.cubes import time_major
from geo_assets.storage.cubes.chunk_files import pack_chunk, write_chunk_file
from geo_assets.storage.cubes.days import RULES_ATTRIBUTE
from geo_assets.storage.cubes.export import export_store
from geo_assets.storage.cubes.format import band_variable, create_variable, index_variable
from geo_assets.storage.cubes.icechunk_cube import open_repository
from geo_assets.storage.cubes.opening import open_cube, open_group
from geo_assets.storage.cubes.soundness import check_sound
from geo_assets.storage.cubes.time_major import compact_cube, open_time_major, time_major_of
from geo_assets_tests.acceptance.cube_writing import DAYS, builder
from geo_assets_tests.sources.memory_source import MemorySource, grid, random_scene
from geo_assets_tests.storage.cubes.written_cube import write_cube

STORES = ["zarr", "icechunk"]


@pytest.mark.parametrize("store", STORES)
def test_a_time_major_copy_holds_the_cube_in_whole_series(tmp_path, store):
    path = tmp_path / f"cluster-0.{store}"
    builder(raw_bands=("B04",)).build(path)
    copy, made = compact_cube(path)
    assert made
    assert copy == time_major_of(path) == tmp_path / "cluster-0.time-major.zarr"
    for chunks in (None, {}):
        opened = open_time_major(path, chunks=chunks)
        xr.testing.assert_equal(opened.load(), open_cube(path).load())
    array = zarr.open_array(copy, path="ndvi", mode="r")
    assert (array.chunks, array.shards) == ((len(DAYS), 64, 64), None)
    assert [compressor.cname.value for compressor in array.compressors] == ["lz4"]
    assert compact_cube(path) == (copy, False)


def test_many_blocks_are_put_together_in_shards(tmp_path, monkeypatch):
    path = tmp_path / "cluster-0.zarr"
    builder().build(path)
    monkeypatch.setattr(time_major, "MOST_FILES", 3)
    copy, _ = compact_cube(path)
    for chunks in (None, {}):
        opened = open_time_major(path, chunks=chunks)
        xr.testing.assert_equal(opened.load(), open_cube(path).load())
    array = zarr.open_array(copy, path="ndvi", mode="r")
    assert (array.chunks, array.shards) == ((len(DAYS), 64, 64), (len(DAYS), 128, 128))


def test_a_stale_copy_is_noticed_and_made_anew(tmp_path):
    path = tmp_path / "cluster-0.zarr"
    builder(DAYS[:3]).build(path)
    with pytest.raises(StorageError, match="does not exist; run geo-assets compact"):
        open_time_major(path)
    compact_cube(path)
    builder(DAYS[:4]).build(path)
    with pytest.raises(StorageError, match="is of an earlier state of the cube; run geo-assets"):
        open_time_major(path)
    assert compact_cube(path)[1]
    assert open_time_major(path).sizes["time"] == 4


def test_a_copy_of_other_attributes_is_stale_too(tmp_path):
    path = tmp_path / "cluster-0.zarr"
    builder().build(path)
    compact_cube(path)
    assert replace(builder(), attrs={"title": "t", "license": "CC-BY-4.0"}).build(path)[1] == (
        "rewritten"
    )
    with pytest.raises(StorageError, match="is of an earlier state of the cube"):
        open_time_major(path)
    assert compact_cube(path)[1]
    assert open_time_major(path).attrs["license"] == "CC-BY-4.0"


@pytest.mark.parametrize("store", STORES)
def test_a_cube_of_an_index_whose_name_begins_another_is_copied(tmp_path, store):
    bands = (("nir", "B08"), ("red", "B04"))
    indices = (IndexRule("EVI", (*bands, ("blue", "B02"))), IndexRule("EVI2", bands))
    path = tmp_path / f"cluster-0.{store}"
    scene = random_scene(1, "A", DAYS[0], grid(96, 96), bands=("B02", "B04", "B08"))
    source = MemorySource.of(scene)
    made = replace(
        builder(indices=indices, smoothing=SmoothingRules(), scale=1e-3),
        source=source,
        items=source.items,
    )
    made.build(path)
    assert made.build(path)[1] == "kept"
    export_store(path, tmp_path / "there.zarr", {}, force=False)
    assert compact_cube(path)[1]


def test_what_a_killed_copy_left_is_removed_by_the_next(tmp_path):
    path, to = tmp_path / "cluster-0.zarr", tmp_path / "there/cube.zarr"
    builder(DAYS[:2]).build(path)
    for target in (to, time_major_of(path)):
        left = target.with_name(f".{target.name}.{'0' * 16}.tmp")
        left.mkdir(parents=True)
    export_store(path, to, {}, force=False)
    compact_cube(path)
    assert [entry.name for entry in to.parent.iterdir()] == [to.name]
    assert not list(tmp_path.glob(".cluster-0.time-major*"))


def test_a_cube_without_days_has_a_copy_too(tmp_path):
    path = tmp_path / "cluster-0.zarr"
    builder([]).build(path)
    compact_cube(path)
    assert open_time_major(path).sizes["time"] == 0


@pytest.mark.parametrize("store", STORES)
def test_an_export_is_a_plain_store_that_says_whence_it_comes(tmp_path, store):
    path, to = tmp_path / f"cluster-0.{store}", tmp_path / "there/cube.zarr"
    builder().build(path)
    export_store(path, to, {"campaign": "demo", "fold": "north"}, force=False)
    with xr.open_zarr(to) as cube:
        xr.testing.assert_allclose(cube.load(), open_cube(path).load(), rtol=0, atol=1e-7)
        assert (cube.attrs["campaign"], cube.attrs["fold"]) == ("demo", "north")
    with pytest.raises(StorageError, match="exists; say --force to replace it"):
        export_store(path, to, {}, force=False)
    export_store(path, to, {}, force=True)
    assert "campaign" not in open_group(to).attrs
    (tmp_path / "mine").mkdir()
    with pytest.raises(StorageError, match="is no Zarr store, so it is not replaced"):
        export_store(path, tmp_path / "mine", {}, force=True)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8", "int32", "float32"])
@pytest.mark.parametrize("edge", [50, 1024, 1100])
def test_a_chunk_written_as_file_is_the_one_that_zarr_writes(tmp_path, dtype, edge):
    variable = band_variable("B04", dtype) if dtype != "int16" else index_variable("ndvi")
    values = np.random.default_rng(1).integers(1, 99, (2, edge, edge)).astype(dtype)
    values[0, :7] = variable.fill
    values[1, :1024, :1024] = variable.fill
    stores = [zarr.create_group(tmp_path / name, zarr_format=3) for name in ("ours", "zarr")]
    arrays = [create_variable(store, variable, values.shape) for store in stores]
    arrays[1][...] = values
    rows, cols = arrays[0].chunks[1:]
    for t in range(2):
        for y in range(-(-edge // rows)):
            for x in range(-(-edge // cols)):
                part = values[t, y * rows : (y + 1) * rows, x * cols : (x + 1) * cols]
                folder = tmp_path / "ours" / variable.name
                packed = pack_chunk(part, variable.fill, (rows, cols))
                known = ~np.isnan(part) if dtype == "float32" else part != variable.fill
                assert (packed.dtype, packed.valid) == (dtype, known.sum())
                write_chunk_file(folder, (t, y, x), packed)
    files = [
        {
            p.relative_to(tmp_path / n): p.read_bytes()
            for p in (tmp_path / n).rglob("*")
            if p.is_file()
        }
        for n in ("ours", "zarr")
    ]
    assert files[0] == files[1]


def test_a_cube_that_says_no_checksum_is_not_compacted(tmp_path):
    write_cube(
        tmp_path / "c.zarr",
        {"ndvi": np.zeros((1, 4, 4), np.int16)},
        np.array(["2021-01-01"], "datetime64[ns]"),
        grid(4, 4),
    )
    with pytest.raises(StorageError, match="says no checksum of its values"):
        compact_cube(tmp_path / "c.zarr")


def test_a_cube_of_an_earlier_version_is_to_be_made_again(tmp_path):
    path = tmp_path / "c.zarr"
    values = {"ndvi": np.zeros((1, 4, 4), np.int16)}
    said = {RULES_ATTRIBUTE: "of before", "geo_assets_sha256": "ab" * 32}
    write_cube(path, values, np.array(["2021-01-01"], "datetime64[ns]"), grid(4, 4), said)
    with pytest.raises(StorageError, match="an earlier version; materialize ndvi_cube"):
        check_sound(path, open_group(path))


SMOOTH = {
    "scale": 1e-3,
    "smoothing": SmoothingRules(),
    "indices": tuple(IndexRule(name, (("nir", "B08"), ("red", "B04"))) for name in ("TDVI", "DVI")),
}


def truncate(*files):
    for file in files:
        os.truncate(file, 10)


def shift(path, axis, by):
    """Move one value of an axis, as a bit that flipped would."""
    if path.suffix == ".zarr":
        group = zarr.open_group(path, mode="r+")
        group[axis][-1] += by
        return
    session = open_repository(path).writable_session("main")
    zarr.open_group(session.store, mode="r+")[axis][-1] += by
    session.commit("moved")


@pytest.mark.parametrize(
    ("store", "harm", "message"),
    [
        ("zarr", lambda p: (p / "ndvi/c/1/0/0").unlink(), f"day {DAYS[1]} is damaged"),
        ("zarr", lambda p: truncate(p / "B04/c/1/0/0"), f"day {DAYS[1]} is damaged"),
        ("zarr", lambda p: shutil.rmtree(p / "ndvi/c"), f"day {DAYS[0]} is damaged, and 3 more"),
        ("zarr", lambda p: (p / "y/c/0").unlink(), "y is damaged"),
        ("zarr", lambda p: truncate(p / "x/c/0"), "x is damaged"),
        ("zarr", lambda p: shift(p, "time", 2), "time is damaged"),
        ("zarr", lambda p: shift(p, "x", 5000.0), "x is damaged"),
        ("icechunk", lambda p: shift(p, "y", -10.0), "y is damaged"),
        ("zarr", lambda p: (p / "dvi_smoothed/c/1/0/0").unlink(), "smoothed copies are not those"),
        ("zarr", lambda p: truncate(p / "dvi_smoothed/c/1/0/0"), "smoothed copies are not"),
        (
            "icechunk",
            lambda p: truncate(*(p / "chunks").iterdir()),
            f"day {DAYS[0]} is damaged, and 3 more",
        ),
    ],
    ids=[
        "lost chunk",
        "truncated chunk",
        "lost variable",
        "lost axis",
        "truncated axis",
        "another time",
        "another place",
        "another place in icechunk",
        "lost smoothed chunk",
        "truncated smoothed chunk",
        "truncated chunks of icechunk",
    ],
)
def test_a_damaged_cube_is_not_copied_before_it_is_made_again(tmp_path, store, harm, message):
    path, to = tmp_path / f"cluster-0.{store}", tmp_path / "there.zarr"
    made = builder(DAYS[:4], raw_bands=("B04",), **SMOOTH)
    made.build(path)
    compact_cube(path)
    harm(path)
    assert not compact_cube(path)[1]  # the copy is of the days before they were damaged
    for copy in (
        lambda: compact_cube(path, force=True),
        lambda: export_store(path, to, {}, force=False),
    ):
        with pytest.raises(StorageError, match=f"{path}: {message}.*; materialize ndvi_cube"):
            copy()
    assert not to.exists()
    made.build(path)
    assert compact_cube(path, force=True) == (time_major_of(path), True)
    xr.testing.assert_equal(open_time_major(path).load(), open_cube(path).load())
    export_store(path, to, {}, force=False)


@pytest.mark.parametrize("store", STORES)
def test_the_order_of_indices_does_not_change_smoothed_copies(tmp_path, store):
    path = tmp_path / f"cluster-0.{store}"
    builder(DAYS[:3], **SMOOTH).build(path)
    turned = SMOOTH | {"indices": SMOOTH["indices"][::-1]}
    assert builder(DAYS[:3], **turned).build(path)[1] == "kept"


def test_a_store_without_a_record_of_days_is_exported_as_it_is(tmp_path):
    values = {"ndvi": np.full((1, 4, 4), -32768, np.int16)}
    write_cube(tmp_path / "c.zarr", values, np.array(["2021-01-01"], "datetime64[D]"), grid(4, 4))
    export_store(tmp_path / "c.zarr", tmp_path / "d.zarr", {}, force=False)
    xr.testing.assert_equal(open_cube(tmp_path / "d.zarr"), open_cube(tmp_path / "c.zarr"))
