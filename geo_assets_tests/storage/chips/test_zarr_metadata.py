"""What the metadata of a store of chips say, and what it costs if they are damaged: no chip."""

from __future__ import annotations

import json

import pytest

from geo_assets.errors import StorageError
from geo_assets.storage.chips.verification import verify_chips
from geo_assets.storage.chips.zarr_metadata import ChipArrays
from geo_assets_tests.storage.chips.chip_testing import (
    Reader,
    a_spec,
    a_store,
    assert_zarr_python_reads,
    facts,
    pixels_of,
    some_specs,
    store_files,
    zarr_of,
)


@pytest.fixture
def store(tmp_path):
    return a_store(tmp_path / "results", "zarr")


def test_a_shard_holds_64_chips_or_64_mebibytes_of_them():
    assert ChipArrays(("a",) * 5, "uint16", 256, 256).slots == 64
    assert ChipArrays(("a",) * 5, "uint16", 1024, 1024).slots == 6
    assert ChipArrays(("a",) * 13, "float64", 4096, 4096).slots == 1


def test_the_metadata_of_the_group_holds_that_of_every_array(store):
    store.converge(some_specs(3), pixels_of, run_id="run-1")
    group = json.loads((zarr_of(store) / "zarr.json").read_bytes())
    for name, metadata in group["consolidated_metadata"]["metadata"].items():
        assert json.loads((zarr_of(store) / name / "zarr.json").read_bytes()) == metadata


def test_metadata_that_is_damaged_comes_back_without_asking_a_chip(store):
    specs = some_specs(70)
    store.converge(specs, pixels_of, run_id="run-1")
    before = {name: file[0] for name, file in store_files(store).items()}
    for name in ("zarr.json", "pixels/zarr.json", "chip_id/c/0", "transform/c/0/0"):
        (zarr_of(store) / name).write_bytes(b"{")
    reader = Reader()
    store.converge(specs, reader, run_id="run-2")
    assert reader.asked == []
    assert {name: file[0] for name, file in store_files(store).items()} == before


def change_metadata(store, change):
    """Change the metadata of the pixels so that they are still JSON."""
    file = zarr_of(store) / "pixels" / "zarr.json"
    metadata = json.loads(file.read_bytes())
    change(metadata)
    file.write_text(json.dumps(metadata))


CHANGES_OF_METADATA = {
    "bands": lambda metadata: metadata["shape"].__setitem__(1, 4),
    "slots": lambda m: m["chunk_grid"]["configuration"]["chunk_shape"].__setitem__(0, 65),
    "dtype": lambda metadata: metadata.update(data_type="uint32"),
    "attribute": lambda metadata: metadata["attributes"].update(note="mine"),
}


@pytest.mark.parametrize("change", CHANGES_OF_METADATA.values(), ids=CHANGES_OF_METADATA)
def test_metadata_that_were_changed_cost_no_chip_though_one_is_asked(store, change):
    store.converge(some_specs(70), pixels_of, run_id="run-1")
    change_metadata(store, change)
    reader = Reader()
    report = store.converge(some_specs(71), reader, run_id="run-2")
    assert (report.ok, reader.asked) == (71, [a_spec(70).chip_id])
    assert_zarr_python_reads(store, some_specs(71))


@pytest.mark.parametrize("name", CHANGES_OF_METADATA)
def test_verify_calls_no_chip_corrupt_for_metadata_that_were_changed(store, name):
    specs = some_specs(70)
    store.converge(specs, pixels_of, run_id="run-1")
    before = facts(store)
    change_metadata(store, CHANGES_OF_METADATA[name])
    if name == "attribute":
        assert verify_chips(store.paths, store.collection).corrupt == ()
    else:
        with pytest.raises(StorageError, match=r"chips\.zarr: no readable metadata"):
            verify_chips(store.paths, store.collection)
    assert facts(store) == before
    store.converge(specs, Reader(), run_id="run-2")
    assert verify_chips(store.paths, store.collection).checked == 70
