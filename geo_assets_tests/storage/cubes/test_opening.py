"""Cubes open with xarray as float NDVI on their grid, and are exchanged whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
import odc.geo.xr  # noqa: F401 -- registers the accessor .odc
import pytest
import rioxarray  # noqa: F401 -- registers the accessor .rio
import xarray as xr
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import sha256_of, sweep_temporaries
from geo_assets.storage.cubes.format import check_grid
from geo_assets.storage.cubes.opening import open_cube
from geo_assets_tests.acceptance.cube_writing import DAYS, builder
from geo_assets_tests.storage.cubes.written_cube import write_cube

if TYPE_CHECKING:
    from pathlib import Path

TIMES = np.array(["2024-01-01", "2024-01-06T10:11:12.345", "2024-02-01"], "datetime64[ns]")
GRIDS = {
    "round": GeoBox((30, 20), Affine(10, 0, 500_000, 0, -10, 9_100_000), "EPSG:32737"),
    "odd": GeoBox(
        (7, 5), Affine(9.994812345, 0, 501_234.56789, 0, -9.9974123, 5_100_000 + 1 / 3), 32633
    ),
    "one pixel": GeoBox((1, 1), Affine(10, 0, 500_000, 0, -10, 9_100_000), "EPSG:32737"),
    "degrees": GeoBox((4, 6), Affine(1e-4, 0, 39.1, 0, -1e-4, -7.8), "EPSG:4326"),
    "many chunks": GeoBox((1030, 1500), Affine(10, 0, 5e5, 0, -10, 9.1e6), "EPSG:32737"),
}


def index(geobox: GeoBox, dates: int = 3) -> np.ndarray:
    random = np.random.default_rng(3)
    values = random.integers(-10_000, 10_001, (dates, *geobox.shape), dtype=np.int16)
    values[random.random(values.shape) < 0.2] = -32768
    return values


def checksums(store: Path) -> dict[str, str]:
    return {
        str(file.relative_to(store)): sha256_of(file) for file in store.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize("name", GRIDS)
def test_xarray_opens_a_cube_without_warnings_as_float_with_nan(tmp_path: Path, name: str) -> None:
    geobox = GRIDS[name]
    values = index(geobox)
    write_cube(tmp_path / "a.zarr", {"ndvi": values}, TIMES, geobox, {"license": "CC-BY-4.0"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cube = xr.open_zarr(tmp_path / "a.zarr")
        ndvi = cube["ndvi"].values
    assert cube["ndvi"].dims == ("time", "y", "x")
    assert ndvi.dtype.kind == "f"
    expected = np.where(values == -32768, np.nan, values.astype(np.float64) * 1e-4)
    np.testing.assert_allclose(ndvi, expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(cube["time"].values, TIMES)
    assert cube.attrs["license"] == "CC-BY-4.0"
    assert cube["ndvi"].attrs["standard_name"] == "normalized_difference_vegetation_index"


@pytest.mark.parametrize("name", GRIDS)
def test_rioxarray_and_odc_recover_the_grid(tmp_path: Path, name: str) -> None:
    geobox = GRIDS[name]
    write_cube(tmp_path / "a.zarr", {"ndvi": index(geobox)}, TIMES, geobox)
    cube = open_cube(tmp_path / "a.zarr")
    assert cube.odc.geobox == geobox
    assert cube["ndvi"].odc.geobox == geobox
    assert cube["ndvi"].rio.crs.to_epsg() == geobox.crs.to_epsg()
    assert cube["ndvi"].rio.transform().almost_equals(geobox.transform, 1e-9)
    mapping = cube["ndvi"].attrs.get("grid_mapping") or cube["ndvi"].encoding["grid_mapping"]
    assert mapping == "spatial_ref"
    assert cube["spatial_ref"].attrs["grid_mapping_name"]
    assert cube["x"].attrs["axis"] == "X"
    assert cube["y"].attrs["standard_name"] in {"projection_y_coordinate", "latitude"}


def test_a_lost_chunk_reads_as_missing_and_never_as_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_cube(path, {"ndvi": np.full((3, 30, 20), 5000, np.int16)}, TIMES, GRIDS["round"])
    for chunk in (path / "ndvi" / "c" / "1").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    means = open_cube(path)["ndvi"].mean(dim=("y", "x")).values
    np.testing.assert_allclose(means, [0.5, np.nan, 0.5])
    (path / "y" / "c" / "0").unlink()
    assert np.isnan(open_cube(path)["y"].values).all()


def test_the_store_is_zarr_3_in_the_chosen_chunks_and_codec(tmp_path: Path) -> None:
    geobox = GRIDS["many chunks"]
    write_cube(tmp_path / "a.zarr", {"ndvi": index(geobox, 1)}, TIMES[:1], geobox)
    array = zarr.open_array(tmp_path / "a.zarr", path="ndvi", mode="r")
    assert array.metadata.zarr_format == 3
    assert array.chunks == (1, 1024, 1024)
    assert array.fill_value == -32768
    assert array.dtype == np.int16
    stored = json.loads((tmp_path / "a.zarr" / "ndvi" / "zarr.json").read_text())
    blosc = stored["codecs"][-1]["configuration"]
    assert (blosc["cname"], blosc["clevel"], blosc["shuffle"]) == ("zstd", 1, "shuffle")
    assert stored["attributes"]["_FillValue"] == stored["fill_value"] == -32768
    np.testing.assert_array_equal(array[...], index(geobox, 1))


def test_equal_cubes_are_equal_directories(tmp_path: Path) -> None:
    geobox = GRIDS["many chunks"]
    values = index(geobox)
    values[1] = -32768
    for name in ("a.zarr", "b.zarr", "a.zarr"):
        write_cube(tmp_path / name, {"ndvi": values}, TIMES, geobox)
    assert checksums(tmp_path / "a.zarr") == checksums(tmp_path / "b.zarr")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_a_cube_replaces_a_longer_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_cube(path, {"ndvi": index(GRIDS["round"])}, TIMES, GRIDS["round"])
    write_cube(path, {"ndvi": index(GRIDS["odd"], 1)}, TIMES[:1], GRIDS["odd"])
    assert open_cube(path).sizes == {"time": 1, "y": 7, "x": 5}


def test_a_cube_without_dates_or_with_a_second_index_is_a_cube(tmp_path: Path) -> None:
    geobox = GRIDS["round"]
    write_cube(tmp_path / "a.zarr", {"ndvi": index(geobox, 0)}, TIMES[:0], geobox)
    assert open_cube(tmp_path / "a.zarr").sizes["time"] == 0
    write_cube(tmp_path / "b.zarr", {"ndvi": index(geobox), "ndwi": index(geobox)}, TIMES, geobox)
    assert set(open_cube(tmp_path / "b.zarr").data_vars) == {"ndvi", "ndwi"}


@settings(max_examples=20, deadline=None)
@given(
    days=st.sets(st.integers(-20_000, 40_000), min_size=1, max_size=6),
    unit=st.sampled_from(["D", "s", "ms", "ns"]),
)
def test_times_come_back(
    tmp_path_factory: pytest.TempPathFactory, days: set[int], unit: str
) -> None:
    times = np.array(sorted(days), "datetime64[D]").astype(f"datetime64[{unit}]")
    path = tmp_path_factory.mktemp("cube") / "a.zarr"
    write_cube(path, {"ndvi": np.zeros((len(days), 1, 1), np.int16)}, times, GRIDS["one pixel"])
    np.testing.assert_array_equal(open_cube(path)["time"].values, times)


@pytest.mark.parametrize(
    "geobox",
    [
        GeoBox((30, 20), Affine(10, 1, 5e5, 1, -10, 9e6), "EPSG:32737"),
        GeoBox((30, 20), Affine(10, 0, 5e5, 0, -10, 9e6), None),
    ],
    ids=["rotated", "without CRS"],
)
def test_a_grid_that_axes_cannot_say_is_refused(geobox: GeoBox) -> None:
    with pytest.raises(StorageError, match="a CRS and neither rotation nor shear"):
        check_grid("a.zarr", geobox)


def test_an_absent_or_broken_cube_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with pytest.raises(StorageError, match="materialize demo/ndvi_cube first"):
        open_cube(path, asset="demo/ndvi_cube")
    path.mkdir()
    with pytest.raises(StorageError, match="cannot be read as a cube"):
        open_cube(path)


@pytest.mark.parametrize("store", ["zarr", "icechunk"])
def test_a_truncated_time_axis_is_an_error_that_names_the_cube(tmp_path: Path, store: str) -> None:
    path = tmp_path / f"cluster-0.{store}"
    builder(DAYS[:2]).build(path)
    # Small chunks of Icechunk lie in its manifests.
    for file in (path / ("manifests" if store == "icechunk" else "time/c")).rglob("*"):
        os.truncate(file, 10)
    with pytest.raises(StorageError, match=f"{path}: cannot be read as a cube"):
        open_cube(path)


def test_a_kill_while_cubes_are_written_leaves_one_whole_generation(tmp_path: Path) -> None:
    """Each cube holds one value on all its dates: a mix of two generations would show."""
    code = """
import sys
from pathlib import Path
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from geo_assets_tests.storage.cubes.written_cube import write_cube
grid = GeoBox((8, 8), Affine(10, 0, 5e5, 0, -10, 9e6), "EPSG:32737")
times = np.arange(12).astype("datetime64[D]")
for generation in range(1, 10_000):
    data = np.full((12, 8, 8), generation, np.int16)
    write_cube(Path(sys.argv[1]), {"ndvi": data}, times, grid)
    print(generation, flush=True)
"""
    path = tmp_path / "cube.zarr"
    for published in (1, 2, 4):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
        )
        with writer:
            for _ in range(published):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        values = np.unique(open_cube(path)["ndvi"].values)
        assert len(values) == 1
        assert values[0] >= published * 1e-4 - 1e-9
        sweep_temporaries(tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["cube.zarr"]
