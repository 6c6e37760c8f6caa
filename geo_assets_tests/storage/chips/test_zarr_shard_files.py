"""Readers of a store whose shards are replaced meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import geo_assets
from geo_assets.core.chips import ChipPixels
from geo_assets.errors import StorageError
from geo_assets.storage.chips import zarr_shard_files
from geo_assets.storage.chips.zarr_shard_files import ChipShards
from geo_assets.storage.zarr_shards import read_index
from geo_assets_tests.storage.chips.chip_testing import (
    OTHER_RECIPE,
    RECIPE,
    SIZE,
    a_spec,
    a_store,
    die,
    group_of,
    indices,
    pixels_of,
    some_specs,
    zarr_of,
)


@pytest.fixture
def store(tmp_path):
    return a_store(tmp_path / "results", "zarr")


def test_a_reader_of_the_old_catalog_never_meets_another_chip(store):
    """While a run replaces chips, an index holds its own chip, old or new, or nothing."""
    store.converge(some_specs(100), pixels_of, run_id="run-1")
    before = indices(store)
    seen = []

    def look(done, _total, _counters):
        if done == 30:
            pixels = group_of(store)["pixels"]
            for chip_id, index in before.items():
                number = int(chip_id[-5:])
                either = [
                    pixels_of(a_spec(number, recipe)).data for recipe in (RECIPE, OTHER_RECIPE)
                ]
                seen.append(any(np.array_equal(pixels[index], data) for data in either))

    # The first half leaves, as many others come, and those that stay change.
    store.converge(some_specs(150, OTHER_RECIPE)[50:], pixels_of, run_id="run-2", progress=look)
    assert len(seen) == 100
    assert all(seen)


def test_a_reader_whose_shard_is_replaced_meets_one_generation_of_it(store, monkeypatch):
    """Replaced after its index was read: chunks are those of the file that the index is of."""
    store.converge(some_specs(3), pixels_of, run_id="run-1")
    shards = ChipShards(zarr_of(store), 64)
    before = shards.read(1)
    noise = np.random.default_rng(0).random((SIZE, SIZE)) < 0.5
    larger = ChipPixels(np.arange(3 * SIZE**2, dtype="uint16").reshape(3, SIZE, SIZE), noise)

    def replaced_meanwhile(file, slots):
        index = read_index(file, slots)
        monkeypatch.undo()
        # The chip before it takes more room now, so that its own chunk lies elsewhere.
        changed = [a_spec(0, OTHER_RECIPE), a_spec(1), a_spec(2)]
        store.converge(changed, lambda _: larger, run_id="run-2")
        return index

    monkeypatch.setattr(zarr_shard_files, "read_index", replaced_meanwhile)
    assert ChipShards(zarr_of(store), 64).read(1) == before


def test_a_chip_that_is_being_replaced_is_opened_whole_or_not_at_all(store):
    """Pixels are renamed before validity: a reader in between meets the new and the old."""
    half = np.zeros((SIZE, SIZE), bool)
    half[:4] = True
    store.converge([a_spec()], lambda spec: ChipPixels(pixels_of(spec).data, half), run_id="run-1")
    old = (zarr_of(store) / "valid" / "c.0.0.0").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        store.converge([a_spec(0, OTHER_RECIPE)], pixels_of, run_id="dead", progress=die)
    (zarr_of(store) / "valid" / "c.0.0.0").write_bytes(old)
    with pytest.raises(StorageError, match=r"chips\.zarr#0: is not what its row says"):
        geo_assets.open_chip(store.paths.catalog, a_spec().chip_id)


def test_a_reader_between_two_renames_meets_no_valid_pixel_that_holds_nothing(store, monkeypatch):
    store.converge(some_specs(4), pixels_of, run_id="run-1")
    honest, met = Path.rename, []

    def rename(temporary, path):
        honest(temporary, path)
        if path.name.startswith("c."):
            group = group_of(store)
            pixels, valid = group["pixels"][:], group["valid"][:]
            met.append(not (valid & (pixels == 0).all(axis=1)).any())

    monkeypatch.setattr(Path, "rename", rename)
    store.converge(some_specs(8)[2:], pixels_of, run_id="run-2")
    assert len(met) >= 4
    assert all(met)
