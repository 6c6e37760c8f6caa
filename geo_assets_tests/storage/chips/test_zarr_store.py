"""Chips in one Zarr store: read by zarr-python and xarray, verified, repaired and converged."""

from __future__ import annotations

import json
import os
import shutil
import threading

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geo_assets
from geo_assets.core.chips import ChipPixels, NoImagery
from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.checksums import sha256
from geo_assets.storage.chips import files, flight
from geo_assets.storage.chips.catalog import open_catalog, read_rows
from geo_assets.storage.chips.verification import verify_chips
from geo_assets.storage.chips.zarr_shard_files import ChipShards
from geo_assets_tests.storage.chips.chip_testing import (
    BANDS,
    NOON,
    OTHER_RECIPE,
    RECIPE,
    SIZE,
    Reader,
    a_spec,
    a_store,
    assert_zarr_python_reads,
    die,
    facts,
    group_of,
    indices,
    number_of,
    pixels_of,
    read_well,
    some_specs,
    store_files,
    zarr_of,
)


@pytest.fixture
def store(tmp_path):
    return a_store(tmp_path / "results", "zarr")


def damage(store, chip_id, part="pixels"):
    """Change one bit of a chip's chunk and nothing that the directory shows."""
    index = indices(store)[chip_id]
    array = group_of(store)[part]
    [file] = (zarr_of(store) / part).glob(f"c.{index // array.shards[0]}.*")
    before, content = file.stat(), bytearray(file.read_bytes())
    entries = np.frombuffer(content[-(16 * array.shards[0] + 4) : -4], "<u8").reshape(-1, 2)
    offset, length = entries[index % array.shards[0]].tolist()
    content[offset + length // 2] ^= 4
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_zarr_python_reads_every_chip_and_xarray_opens_the_store(store):
    specs = some_specs(150)
    report = store.converge(specs, read_well, run_id="run-1")
    assert (report.ok, report.no_imagery) == (129, 21)
    assert_zarr_python_reads(store, [spec for spec in specs if number_of(spec) % 7 != 3])
    with xr.open_zarr(zarr_of(store)) as dataset:
        assert dataset["pixels"].dims == ("chip", "band", "y", "x")
        assert list(dataset["band"].values) == list(BANDS)
        assert dataset["pixels"].dtype == "uint16"
        chip = dataset["pixels"].sel(band="B08")[indices(store)[specs[70].chip_id]]
        np.testing.assert_array_equal(chip, pixels_of(specs[70]).data[1])
    plain = xr.open_zarr(zarr_of(store), consolidated=False)
    assert plain.sizes["chip"] == group_of(store)["chip_id"].shape[0] == 150


def test_a_row_points_at_its_index_with_size_and_checksum_of_its_chunks(store):
    store.converge(some_specs(5), read_well, run_id="run-1")
    row = read_rows(store.paths.catalog)[2]
    assert row.href == "../../chips/north/train/chips.zarr#2"
    asset = open_catalog(store.paths.catalog)["assets"][2]["image"]
    assert asset["type"] == "application/vnd.zarr; version=3"
    assert asset["file:size"] == row.outcome.size < 3 * SIZE * SIZE * 2 + SIZE * SIZE
    assert row.outcome.valid_fraction == 1


def test_open_chip_reads_a_chip_of_the_store(store):
    store.converge(some_specs(5), read_well, run_id="run-1")
    data, geobox = geo_assets.open_chip(store.paths.catalog, a_spec(2).chip_id)
    np.testing.assert_array_equal(data, pixels_of(a_spec(2)).data)
    assert geobox == a_spec(2).geobox
    damage(store, a_spec(2).chip_id)
    with pytest.raises(
        StorageError, match=r"chips\.zarr#2: is not what its row says.*geo-assets verify"
    ):
        geo_assets.open_chip(store.paths.catalog, a_spec(2).chip_id)
    shutil.rmtree(zarr_of(store))
    with pytest.raises(StorageError, match=r"chips\.zarr#2: is missing"):
        geo_assets.open_chip(store.paths.catalog, a_spec(2).chip_id)


@pytest.mark.parametrize("part", ["pixels", "valid"])
def test_verify_names_the_damaged_chips_and_the_next_run_restores_just_them(store, part):
    specs = some_specs(150)
    store.converge(specs, read_well, run_id="run-1")
    before = store_files(store)
    damaged = [specs[number].chip_id for number in (4, 77, 79, 148)]
    for chip_id in damaged:
        damage(store, chip_id, part)
    report = verify_chips(store.paths, store.collection)
    assert report.checked == 129
    assert [failure.chip_id for failure in report.corrupt] == damaged
    reader = Reader(read_well)
    store.converge(specs, reader, run_id="run-2")
    assert sorted(reader.asked) == damaged
    after = store_files(store)
    assert {name: file[0] for name, file in after.items()} == {n: f[0] for n, f in before.items()}
    assert verify_chips(store.paths, store.collection).corrupt == ()


def test_a_shard_whose_index_is_damaged_is_asked_again_and_no_other(store):
    specs = some_specs(150)
    store.converge(specs, pixels_of, run_id="run-1")
    file = zarr_of(store) / "pixels" / "c.1.0.0.0"
    content = bytearray(file.read_bytes())
    content[-50] ^= 1
    file.write_bytes(content)
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert sorted(reader.asked) == [spec.chip_id for spec in specs[64:128]]
    assert_zarr_python_reads(store, specs)


@pytest.mark.parametrize("name", ["pixels/c.0.0.0.0", "valid/c.0.0.0"])
def test_a_shard_that_is_gone_or_cut_is_asked_without_verify(store, name):
    specs = some_specs(70)
    store.converge(specs, pixels_of, run_id="run-1")
    for spoil in (lambda f: f.unlink(), lambda f: f.write_bytes(f.read_bytes()[:-9])):
        spoil(zarr_of(store) / name)
        reader = Reader()
        store.converge(specs, reader, run_id="again")
        assert sorted(reader.asked) == [spec.chip_id for spec in specs[:64]]
        assert_zarr_python_reads(store, specs)


def test_a_second_run_asks_nothing_and_touches_no_file(store):
    store.converge(some_specs(100), read_well, run_id="run-1")
    before = store_files(store)
    reader = Reader(read_well)
    store.converge(some_specs(100), reader, run_id="run-2")
    assert reader.asked == []
    assert store_files(store) == before


def test_two_fresh_folders_hold_equal_bytes(tmp_path):
    found = []
    for name, workers in (("first", 1), ("second", 4)):
        store = a_store(tmp_path / name, "zarr")
        store.converge(some_specs(100), read_well, run_id=name, workers=workers, clock=lambda: NOON)
        files = {file: content for file, (content, _) in store_files(store).items()}
        found.append((files, store.paths.catalog.read_bytes()))
    assert found[0] == found[1]


def test_chips_keep_their_index_when_others_come_and_go(store):
    store.converge(some_specs(150), pixels_of, run_id="run-1")
    first = indices(store)
    store.converge(some_specs(140)[20:], pixels_of, run_id="run-2")
    assert indices(store) == {
        chip_id: index for chip_id, index in first.items() if 20 <= index < 140
    }
    assert_zarr_python_reads(store, some_specs(140)[20:])
    # Now the indices that are free are given away.
    store.converge(some_specs(170)[20:], pixels_of, run_id="run-3")
    third = indices(store)
    assert all(third[spec.chip_id] == first[spec.chip_id] for spec in some_specs(140)[20:])
    assert sorted(third.values()) == list(range(150))
    assert_zarr_python_reads(store, some_specs(170)[20:])


def test_a_published_index_stays_its_chips_own_after_a_dead_run_in_which_it_failed(store):
    store.converge(some_specs(2), pixels_of, run_id="run-1")
    first, second = some_specs(2, OTHER_RECIPE)
    away = Reader(failures={first.chip_id: ReadError("reset", kind="transient")})
    with pytest.raises(KeyboardInterrupt):
        store.converge([first, second], away, run_id="dead", progress=die)
    new = a_spec(2, OTHER_RECIPE)
    store.converge([new, first, second], pixels_of, run_id="run-2")
    assert indices(store) == {first.chip_id: 0, second.chip_id: 1, new.chip_id: 2}
    assert_zarr_python_reads(store, [first, second, new])


def test_two_dead_runs_that_gave_one_index_to_two_chips_mix_nothing_up(store):
    """Neither was published, so the second knew nothing of the first's new chip."""
    same = ChipPixels(np.full((3, SIZE, SIZE), 5, "uint16"), np.ones((SIZE, SIZE), bool))
    for read in (pixels_of, lambda _: same):
        for number in (1, 2):
            with pytest.raises(KeyboardInterrupt):
                store.converge([a_spec(number)], read, run_id=f"dead-{number}", progress=die)
        report = store.converge([a_spec(1), a_spec(2)], read, run_id="after")
        assert (report.ok, report.asked) == (2, 1)
        assert sorted(indices(store).values()) == [0, 1]
        assert verify_chips(store.paths, store.collection).corrupt == ()
        for spec in (a_spec(1), a_spec(2)):
            data, _ = geo_assets.open_chip(store.paths.catalog, spec.chip_id)
            np.testing.assert_array_equal(data, read(spec).data)
        store.converge([], read, run_id="empty")


def test_only_the_shards_of_changed_chips_are_written(store):
    specs = some_specs(200)
    store.converge(specs, pixels_of, run_id="run-1")
    before = store_files(store)
    changed = [a_spec(number, OTHER_RECIPE if number == 70 else RECIPE) for number in range(200)]
    reader = Reader()
    store.converge(changed, reader, run_id="run-2")
    assert reader.asked == [specs[70].chip_id]
    after = store_files(store)
    assert {name for name in after if after[name] != before[name]} == {
        "pixels/c.1.0.0.0",
        "valid/c.1.0.0",
    }
    assert_zarr_python_reads(store, changed)


def test_a_shard_of_which_a_chip_hangs_is_written_when_too_many_wait(store, monkeypatch):
    monkeypatch.setattr(flight, "_MOST_WAITING_BYTES", 40_000)
    monkeypatch.setattr(flight, "_TURN_BYTES", 1)
    written, enough, honest = [], threading.Event(), ChipShards.write

    def write(self, shard, kept, new):
        honest(self, shard, kept, new)
        written.append(shard)
        if written.count(1) + written.count(2) >= 2:
            enough.set()

    def read(spec):
        # The first chip of each shard: nothing else lets the others wait.
        if number_of(spec) in {0, 64}:
            assert enough.wait(timeout=60)
        return pixels_of(spec)

    monkeypatch.setattr(ChipShards, "write", write)
    specs = some_specs(192)
    report = store.converge(specs, read, run_id="run-1", workers=4)
    assert report.ok == 192
    assert written.count(1) > 1, "otherwise no shard was written in parts"
    assert len(written) < 40, "a shard is not written for each chip"
    assert_zarr_python_reads(store, specs)
    assert verify_chips(store.paths, store.collection).corrupt == ()


def test_a_change_of_format_leaves_nothing_of_the_other(tmp_path):
    folder = tmp_path / "results"
    for chip_format in ("tif", "zarr", "npy", "zarr"):
        store = a_store(folder, chip_format)
        store.converge(some_specs(3), pixels_of, run_id=chip_format)
        names = {path.name for path in store.paths.chips.iterdir()}
        chips = {f"{spec.chip_id}.{chip_format}" for spec in some_specs(3)}
        assert names == ({"chips.zarr"} if chip_format == "zarr" else chips)
        assert verify_chips(store.paths, store.collection).corrupt == ()


def test_chips_of_another_size_make_a_new_store(store):
    store.converge(some_specs(10), pixels_of, run_id="run-1")
    shape = (2 * SIZE, SIZE)

    def larger(spec):
        return ChipPixels(np.full((3, *shape), number_of(spec) + 1, "uint16"), np.ones(shape, bool))

    specs = [
        a_spec(
            number, OTHER_RECIPE, geobox=GeoBox(shape, a_spec(number).geobox.affine, "EPSG:32633")
        )
        for number in range(5)
    ]
    report = store.converge(specs, larger, run_id="run-2")
    assert (report.ok, report.removed) == (5, 5)
    np.testing.assert_array_equal(group_of(store)["pixels"][:, 0, 0, 0], [1, 2, 3, 4, 5])
    assert verify_chips(store.paths, store.collection).corrupt == ()
    mixed = [*specs, a_spec(7)]
    with pytest.raises(StorageError, match=r"c00007: .*one size"):
        store.converge(mixed, larger, run_id="run-3")


def test_no_chips_wanted_leaves_no_store(store):
    store.converge(some_specs(3), pixels_of, run_id="run-1")
    store.converge([], pixels_of, run_id="run-2")
    assert not zarr_of(store).exists()
    store.converge(some_specs(3), lambda _: NoImagery("none"), run_id="run-3")
    assert read_rows(store.paths.catalog)[0].outcome.status == "no_imagery"


def test_bytes_of_a_server_that_are_no_chunks_are_refused(store):
    report = store.converge(some_specs(1), lambda _: b"II*\0 a GeoTIFF", run_id="run-1")
    assert report.failed == 1
    assert report.errors[0].kind == "invalid_payload"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_every_dtype_and_a_mask_come_back_through_zarr_python(tmp_path, dtype):
    store = a_store(tmp_path / "results", "zarr", dtype=dtype)
    generator = np.random.default_rng(3)
    data = generator.integers(0, 100, (3, SIZE, SIZE)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        data[:-1, :4] = np.nan
    valid = generator.random((SIZE, SIZE)) < 0.7
    store.converge([a_spec()], lambda _: ChipPixels(data, valid), run_id="run-1")
    group = group_of(store)
    np.testing.assert_array_equal(group["pixels"][0], data)
    np.testing.assert_array_equal(group["valid"][0], valid)
    assert group["pixels"].dtype == dtype
    assert verify_chips(store.paths, store.collection).corrupt == ()


ACTIONS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 150), min_size=1, max_size=90),
        st.sets(st.integers(0, 150), max_size=20),
        st.sets(st.integers(0, 150), max_size=20),
    ),
    min_size=1,
    max_size=4,
)


@given(runs=ACTIONS)
@settings(max_examples=25, deadline=None)
def test_whatever_is_wanted_fails_or_changes_the_store_converges(tmp_path_factory, runs):
    """Each run: chips that are wanted, those among them of a new recipe, and those that fail."""
    store = a_store(tmp_path_factory.mktemp("results") / "results", "zarr")
    answered = {}
    for number, (wanted, changed, failing) in enumerate(runs):
        specs = [a_spec(n, OTHER_RECIPE if n in changed else RECIPE) for n in sorted(wanted)]
        failures = {a_spec(n).chip_id: ReadError("reset", kind="transient") for n in failing}
        reader = Reader(read_well, failures)
        store.converge(specs, reader, run_id=f"run-{number}")
        known = answered
        must = [spec.chip_id for spec in specs if known.get(spec.chip_id) != spec.recipe]
        assert sorted(reader.asked) == must
        answered = {spec.chip_id: spec.recipe for spec in specs if spec.chip_id not in failures}
        # What was answered before and is asked no more cannot fail.
        answered |= {
            c: r for c, r in known.items() if c not in must and c in {s.chip_id for s in specs}
        }
        sound = [
            spec
            for spec in specs
            if answered.get(spec.chip_id) == spec.recipe and number_of(spec) % 7 != 3
        ]
        if sound:
            assert_zarr_python_reads(store, sound)
        else:
            assert not zarr_of(store).exists()
    fresh = a_store(tmp_path_factory.mktemp("fresh") / "results", "zarr")
    fresh.converge(specs, Reader(read_well), run_id="fresh")
    store.converge(specs, Reader(read_well), run_id="last")
    strip = [(spec, facts_of["checksum"]) for spec, _, facts_of in facts(store)]
    assert strip == [(spec, facts_of["checksum"]) for spec, _, facts_of in facts(fresh)]


def test_chips_of_before_xxh3_stay_as_they_are(store, monkeypatch):
    specs = some_specs(5)
    monkeypatch.setattr(files, "xxh3_128", sha256)
    store.converge(specs, read_well, run_id="before")
    monkeypatch.undo()
    of_before = {
        chip_id: [checksum.removeprefix("1220"), *stamp]
        for chip_id, (checksum, *stamp) in json.loads(store.paths.stamps.read_bytes()).items()
    }
    store.paths.stamps.write_text(json.dumps(of_before))
    before = store_files(store)
    reader, read = Reader(), []
    monkeypatch.setattr(ChipShards, "read", lambda _, index: read.append(index))
    report = store.converge(specs, reader, run_id="after")
    monkeypatch.undo()
    assert (report.kept, reader.asked, read) == (5, [], [])
    assert store_files(store) == before
    assert verify_chips(store.paths, store.collection).corrupt == ()
    checksums = {r.outcome.checksum[:4] for r in read_rows(store.paths.catalog) if r.href}
    assert checksums == {"1220"}
