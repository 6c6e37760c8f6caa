"""kill -9 at any moment of a chip run loses nothing and leaves nothing behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from geo_assets.core.chips import ChipPixels, NoImagery
from geo_assets.storage.atomic import is_temporary
from geo_assets.storage.checksums import agrees
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.files import check_payload, decode_chip
from geo_assets.storage.chips.opening import Payloads
from geo_assets.storage.chips.state import partition_state
from geo_assets.storage.journal import pending_journals, read_journal
from geo_assets.storage.partition_lock import is_locked
from geo_assets_tests.conftest import REPOSITORY
from geo_assets_tests.storage.chips.chip_testing import (
    OTHER_RECIPE,
    SIZE,
    Reader,
    a_store,
    facts,
    number_of,
    pixels_of,
    read_well,
    some_specs,
)

CHIPS = {"tif": 60, "zarr": 200}
"""A shard takes 64 chips: of 200, three are written whole before the last."""
both_formats = pytest.mark.parametrize("chip_format", list(CHIPS))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    stores = {}
    for chip_format, count in CHIPS.items():
        store = stores[chip_format] = a_store(tmp_path_factory.mktemp("undisturbed"), chip_format)
        store.converge(some_specs(count), read_well, run_id="run-1")
    return stores


def kill_a_run(store, run_id, after_lines, *, inside_a_write=False):
    """Start a run and kill it, or let it end before.

    It is killed once its journal has so many lines, and, inside of a write, once a temporary file
    is seen after that.
    """
    chip_format, results = store.encoding.format, store.paths.catalog.parents[2]
    command = [sys.executable, "-m", "geo_assets_tests.storage.chips.chip_run"]
    process = subprocess.Popen(
        [*command, str(results), run_id, str(CHIPS[chip_format]), chip_format],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    journal = store.paths.journals / f"{run_id}.jsonl"
    while process.poll() is None:
        if (lines := lines_of(journal)) is None or lines < after_lines:
            continue
        if not inside_a_write or any(is_temporary(path.name) for path in below(store.paths.chips)):
            break
    process.kill()
    process.wait()


def lines_of(journal):
    """Lines of a file; None while there is none, and again once the run has removed it."""
    try:
        return journal.read_bytes().count(b"\n")
    except FileNotFoundError:
        return None


def below(folder):
    for _, _, names in os.walk(folder):
        yield from map(Path, names)


def assert_everything_is_whole(store):
    rows = read_rows(store.paths.catalog)
    for row in rows:
        if row.outcome.status == "ok":
            payload = Payloads(store.paths.catalog).read(row.href)
            assert agrees(payload, row.outcome.checksum)
            check_payload(payload, store.encoding.expect(row.spec.geobox))
    results = store.paths.catalog.parents[2]
    assert [path for path in results.rglob("*") if is_temporary(path.name)] == []
    assert pending_journals(store.paths.journals) == []
    if store.encoding.format == "zarr":
        assert zarr_agrees(store, rows)


def zarr_agrees(store, rows):
    """Whether zarr-python reads every chip, and nothing where there is none."""
    group = zarr.open_group(store.paths.chips / "chips.zarr", mode="r")
    ids = {index: chip_id for index, chip_id in enumerate(group["chip_id"][:]) if chip_id}
    wanted = {int(row.href.partition("#")[2]): row.spec for row in rows if row.href}
    pixels, valid = group["pixels"][:], group["valid"][:]
    return ids == {index: spec.chip_id for index, spec in wanted.items()} and all(
        np.array_equal(pixels[index], pixels_of(wanted[index]).data) and valid[index].all()
        if index in wanted
        else not pixels[index].any() and not valid[index].any()
        for index in range(len(pixels))
    )


@both_formats
@pytest.mark.parametrize(
    "seed",
    [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 30))],
)
def test_one_more_run_after_a_kill_gives_the_catalog_of_an_undisturbed_one(
    tmp_path, undisturbed, chip_format, seed
):
    store, count = a_store(tmp_path, chip_format), CHIPS[chip_format]
    # Half of them anywhere, half of them while files are being written.
    lines = random.Random(seed).randint(0, count)  # noqa: S311 - a test's moment, no secret
    kill_a_run(store, "killed", lines, inside_a_write=bool(seed % 2))
    assert not is_locked(store.paths.lock)
    journalled = {
        record.chip_id
        for journal in pending_journals(store.paths.journals)
        for record in read_journal(journal)
    }
    pending = bool(pending_journals(store.paths.journals))
    assert partition_state(store.paths).dead_run == pending
    reader = Reader(read_well)
    store.converge(some_specs(count), reader, run_id="after")
    assert not journalled & set(reader.asked)
    assert facts(store) == facts(undisturbed[chip_format])
    assert_everything_is_whole(store)


def half_valid(spec):
    """Chips of ``read_well`` of which the lower half has no datum."""
    chip = read_well(spec)
    if isinstance(chip, NoImagery):
        return chip
    valid = np.arange(SIZE)[:, np.newaxis] < np.full(SIZE, SIZE // 2)
    return ChipPixels(chip.data * valid.astype("uint16"), valid)


def equal(one, other):
    return np.array_equal(one.data, other.data) and np.array_equal(one.valid, other.valid)


@both_formats
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 15))]
)
def test_a_kill_while_chips_are_replaced_leaves_each_old_or_new(
    tmp_path, undisturbed, chip_format, seed
):
    """Published chips of another recipe are overwritten in place: a mixture must be known."""
    store, count = a_store(tmp_path, chip_format), CHIPS[chip_format]
    store.converge(some_specs(count, OTHER_RECIPE), half_valid, run_id="before")
    before = {row.spec.chip_id: row for row in read_rows(store.paths.catalog)}
    lines = random.Random(seed).randint(0, count)  # noqa: S311 - a test's moment, no secret
    kill_a_run(store, "killed", lines, inside_a_write=bool(seed % 2))
    payloads, mixed = Payloads(store.paths.catalog), set()
    for row in read_rows(store.paths.catalog):
        if row.href is None:
            continue
        found = decode_chip(payloads.read(row.href), store.encoding.expect(row.spec.geobox))
        old = half_valid(before[row.spec.chip_id].spec)
        new = read_well(some_specs(count)[number_of(row.spec)])
        if not any(equal(found, chip) for chip in (old, new)):
            # A shard's pixels are renamed before its validity.
            assert chip_format == "zarr"
            assert equal(found, ChipPixels(new.data, old.valid))
            mixed.add(row.spec.chip_id)
    reader = Reader(read_well)
    store.converge(some_specs(count), reader, run_id="after")
    assert mixed <= set(reader.asked)
    assert [row[:2] for row in facts(store)] == [row[:2] for row in facts(undisturbed[chip_format])]
    assert_everything_is_whole(store)


@both_formats
def test_three_kills_in_a_row_are_survived(tmp_path, undisturbed, chip_format):
    store, count = a_store(tmp_path, chip_format), CHIPS[chip_format]
    for number, after_lines in enumerate((2, count // 8, count // 5)):
        kill_a_run(store, f"killed-{number}", after_lines)
    store.converge(some_specs(count), read_well, run_id="after")
    assert facts(store) == facts(undisturbed[chip_format])
    assert_everything_is_whole(store)


@both_formats
def test_a_kill_during_publication_is_survived(tmp_path, undisturbed, monkeypatch, chip_format):
    """Every step of the publication is the last one once."""
    shelf = {"tif": "ChipFolder", "zarr": "ChipZarrStore"}[chip_format]
    steps = ("write_stamps", "write_catalog", f"{shelf}.settle", "pending_journals")
    count = CHIPS[chip_format]
    for number, step in enumerate(steps):
        store = a_store(tmp_path / f"step-{number}", chip_format)

        def die(*_arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(f"geo_assets.storage.chips.store.{step}", die)
            with pytest.raises(KeyboardInterrupt):
                store.converge(some_specs(count), read_well, run_id=f"killed-{number}")
        reader = Reader(read_well)
        store.converge(some_specs(count), reader, run_id="after")
        assert reader.asked == []
        assert facts(store) == facts(undisturbed[chip_format])
        assert_everything_is_whole(store)
