"""Cubes opened lazily: a selection equals numpy's of the whole, and nothing else is read."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geo_assets.errors import StorageError
from geo_assets.storage.cubes import opening
from geo_assets.storage.cubes.opening import open_cube
from geo_assets_tests.storage.cubes.written_cube import write_cube

SHAPE = (3, 1030, 1100)
GRID = GeoBox(SHAPE[1:], Affine(10, 0, 5e5, 0, -10, 9.1e6), "EPSG:32737")
TIMES = np.array(["2024-01-01", "2024-01-06", "2024-02-01"], "datetime64[ns]")


@pytest.fixture(scope="module")
def stored():
    random = np.random.default_rng(3)
    values = random.integers(-10_000, 10_001, SHAPE, dtype=np.int16)
    values[random.random(SHAPE) < 0.2] = -32768
    return values


@pytest.fixture(scope="module")
def path(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("cube") / "a.zarr"
    write_cube(path, {"ndvi": stored}, TIMES, GRID)
    return path


@pytest.fixture(scope="module")
def wanted(stored):
    """By float64, rounded once."""
    values = np.where(stored == -32768, np.nan, stored.astype(np.float64) / 10_000)
    return values.astype(np.float32)


def along(size: int) -> st.SearchStrategy:
    places = st.integers(-size, size - 1)
    # Of any file, xarray 2026.9 itself cannot select nothing by steps backwards.
    slices = st.slices(size).filter(lambda it: (it.step or 1) > 0 or range(size)[it])
    return st.one_of(places, slices, st.lists(places, max_size=4).map(lambda it: np.array(it, int)))


@settings(max_examples=60, deadline=None)
@given(keys=st.tuples(*map(along, SHAPE)))
def test_any_selection_equals_numpys_of_the_whole(path, wanted, keys):
    selected = open_cube(path)["ndvi"][keys]
    expected = wanted
    for axis in (2, 1, 0):  # from the last on: a place takes its axis away
        key = keys[axis]
        expected = expected[(slice(None),) * axis + (key,)]
    assert selected.shape == expected.shape
    np.testing.assert_array_equal(selected.values, expected)
    assert selected.dtype == np.float32


@pytest.fixture
def damaged(stored, tmp_path):
    """A cube of which three chunks cannot be read."""
    path = tmp_path / "a.zarr"
    write_cube(path, {"ndvi": stored}, TIMES, GRID)
    for chunk in ("1/0/0", "2/0/1", "2/1/0"):
        (path / "ndvi/c" / chunk).write_bytes(b"damaged")
    return path


@pytest.mark.parametrize("chunks", [None, {"y": 1024, "x": 1024}])
def test_points_are_read_as_points_and_not_as_rows_by_columns(damaged, wanted, chunks):
    rows, cols = np.array([5, 1029, 1023]), np.array([1023, 1024, 3])
    ndvi = open_cube(damaged, chunks=chunks)["ndvi"][2]
    points = ndvi.isel(y=xr.DataArray(rows, dims="p"), x=("p", cols))
    np.testing.assert_array_equal(points.values, wanted[2, rows, cols])


@pytest.mark.parametrize("chunks", [None, {}])
def test_what_is_not_selected_is_not_read(damaged, chunks):
    cube = open_cube(damaged, chunks=chunks)
    assert np.isfinite(cube["ndvi"][0].values).any()
    assert np.isfinite(cube["ndvi"][1, 1024:, :1024].values).any()
    with pytest.raises(RuntimeError, match="blosc"):
        cube["ndvi"][1, 0, 0].values  # noqa: B018  # reading is the test


def test_dask_arrays_hold_the_same_values_in_chunks_of_the_store_put_together(path):
    lazy, tasks = open_cube(path), open_cube(path, chunks={})
    assert tasks["ndvi"].chunks == ((1, 1, 1), (1030,), (1100,))
    xr.testing.assert_identical(tasks.load(), lazy.load())


def test_chunks_that_are_said_leave_the_others_as_they_would_be(path, monkeypatch):
    monkeypatch.setattr(opening, "_TASK_BYTES", 4 * 1024**2)
    cube = open_cube(path, chunks={"time": 2, "y": 512})
    assert cube["ndvi"].chunks == ((2, 1), (512, 512, 6), (1024, 76))


def test_dask_never_takes_a_cube_for_the_one_that_lay_there_before(stored, tmp_path):
    path = tmp_path / "a.zarr"
    write_cube(path, {"ndvi": stored[:, :64, :64]}, TIMES, GRID[:64, :64])
    before = open_cube(path, chunks={})["ndvi"].persist()
    other = np.where(stored == -32768, stored, stored // 2)[:, :64, :64]
    write_cube(path, {"ndvi": other}, TIMES, GRID[:64, :64])
    after = open_cube(path, chunks={})["ndvi"]
    assert before.data.name != after.data.name
    assert float(abs(after - before).max()) > 0.4


def test_chunks_without_dask_are_refused_by_name(path, monkeypatch):
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    with pytest.raises(StorageError, match=r"a.zarr: chunks want Dask; pip install"):
        open_cube(path, chunks={})
    assert open_cube(path).sizes["time"] == 3


@pytest.mark.parametrize("chunks", [None, {}])
def test_an_open_cube_can_be_sent_to_another_process(path, wanted, chunks):
    sent = pickle.loads(pickle.dumps(open_cube(path, chunks=chunks)))  # noqa: S301  # our own
    np.testing.assert_array_equal(sent["ndvi"][1, 5:9, 7].values, wanted[1, 5:9, 7])


def test_what_is_written_of_it_is_packed_as_it_was(path, tmp_path):
    """The encoding travels along: xarray writes int16 in steps of 1e-4 again."""
    again = tmp_path / "again.zarr"
    open_cube(path).to_zarr(again)
    with (
        xr.open_zarr(path, mask_and_scale=False) as raw,
        xr.open_zarr(again, mask_and_scale=False) as written,
    ):
        assert written["ndvi"].dtype == np.int16
        np.testing.assert_array_equal(written["ndvi"].values, raw["ndvi"].values)
