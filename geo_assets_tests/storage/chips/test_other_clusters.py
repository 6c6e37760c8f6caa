"""Chips of clusters that a run leaves alone: they stay as they are, in either shelf."""

from __future__ import annotations

import pytest

from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.verification import verify_chips
from geo_assets_tests.storage.chips.chip_testing import (
    OTHER_RECIPE,
    Reader,
    a_spec,
    a_store,
    facts,
    pixels_of,
    some_specs,
)

both_shelves = pytest.mark.parametrize("chip_format", ["tif", "zarr"])


@both_shelves
def test_chips_of_clusters_that_are_not_worked_on_stay_as_they_are(tmp_path, chip_format):
    store = a_store(tmp_path / "results", chip_format)
    specs = [a_spec(number, cluster=number % 3) for number in range(12)]
    failures = {specs[4].chip_id: ReadError("reset", kind="transient")}
    store.converge(specs, Reader(failures=failures), run_id="run-1")
    others = [row for row in facts(store) if row[0].cluster != 0]
    # Two of the cluster's four chips left the grid, one is new.
    mine = [a_spec(number, OTHER_RECIPE, cluster=0) for number in (0, 3, 12)]
    reader = Reader()
    report = store.converge(mine, reader, run_id="run-2", clusters=(0,))
    assert sorted(reader.asked) == [spec.chip_id for spec in mine]
    assert (report.ok, report.failed, report.kept, report.removed) == (10, 1, 8, 2)
    assert [row for row in facts(store) if row[0].cluster != 0] == others
    assert verify_chips(store.paths, store.collection).corrupt == ()
    again = Reader()
    store.converge([*mine, *(row[0] for row in others)], again, run_id="run-3")
    assert again.asked == [specs[4].chip_id]


@both_shelves
def test_where_no_cluster_is_worked_on_nothing_is_touched(tmp_path, chip_format):
    store = a_store(tmp_path / "results", chip_format)
    store.converge(some_specs(5), pixels_of, run_id="run-1")
    files, catalog = chip_files_below(store), store.paths.catalog.read_bytes()
    report = store.converge([], pixels_of, run_id="run-2", clusters=(7,))
    assert (report.ok, report.kept, report.removed) == (5, 5, 0)
    assert (chip_files_below(store), store.paths.catalog.read_bytes()) == (files, catalog)


@both_shelves
def test_a_damaged_chip_of_another_cluster_is_marked_and_asked_once_it_is_worked_on(
    tmp_path, chip_format
):
    store = a_store(tmp_path / "results", chip_format)
    specs = [a_spec(number, cluster=number // 70) for number in range(140)]
    store.converge(specs, pixels_of, run_id="run-1")
    last = {"tif": f"{specs[139].chip_id}.tif", "zarr": "chips.zarr/pixels/c.2.0.0.0"}[chip_format]
    (store.paths.chips / last).unlink()
    store.converge(specs[:70], pixels_of, run_id="run-2", clusters=(0,))
    rows = read_rows(store.paths.catalog)
    marked = [row.spec.chip_id for row in rows if row.outcome.status == "failed"]
    assert specs[139].chip_id in marked
    assert set(marked) <= {spec.chip_id for spec in specs[70:]}
    reader = Reader()
    store.converge(specs, reader, run_id="run-3")
    assert sorted(reader.asked) == marked


@both_shelves
@pytest.mark.parametrize("change", [{"chip_format": "npy"}, {"dtype": "float32"}])
def test_chips_that_stay_in_another_form_than_new_ones_are_refused_and_kept(
    tmp_path, chip_format, change
):
    store = a_store(tmp_path / "results", chip_format)
    specs = [a_spec(number, cluster=number % 2) for number in range(6)]
    store.converge(specs, pixels_of, run_id="run-1")
    files, catalog = chip_files_below(store), store.paths.catalog.read_bytes()
    other = a_store(tmp_path / "results", **{"chip_format": chip_format} | change)
    mine = [a_spec(number, OTHER_RECIPE, cluster=0) for number in (0, 2, 4)]
    with pytest.raises(StorageError, match=r"clusters \[1\] stay .*without clusters\.only"):
        other.converge(mine, pixels_of, run_id="run-2", clusters=(0,))
    assert (chip_files_below(store), store.paths.catalog.read_bytes()) == (files, catalog)


def chip_files_below(store):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in store.paths.chips.rglob("*")
        if path.is_file()
    }
