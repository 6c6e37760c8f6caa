"""Windows cut from blocks are those that rasterio reads, in any order and from many threads."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geo_assets.errors import SourceError, StorageError
from geo_assets.storage.rasters import raster_blocks
from geo_assets.storage.rasters.raster_blocks import RasterBlocks

GEOBOX = GeoBox((300, 410), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")


@pytest.fixture(scope="module", params=["tiled", "strips"])
def image(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "image.tif"
    generator = np.random.default_rng(0)
    profile = (
        {"tiled": True, "blockxsize": 64, "blockysize": 32} if request.param == "tiled" else {}
    )
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=3,
            height=300,
            width=410,
            dtype="int16",
            crs="EPSG:32633",
            transform=GEOBOX.transform,
            **profile,
        ) as file,  # fmt: skip
    ):
        file.write(generator.integers(-9, 3000, (3, 300, 410)).astype("int16"))
        file.write_mask(generator.random((300, 410)) < 0.9)
    return path


def window(row, col, rows, cols):
    return GeoBox((rows, cols), GEOBOX.transform @ Affine.translation(col, row), GEOBOX.crs)


def read_by_rasterio(image, row, col, rows, cols):
    place = Window(col, row, cols, rows)
    with rasterio.open(image) as file:
        data = file.read(window=place, boundless=True, fill_value=7, masked=False)
        valid = file.read_masks(1, window=place, boundless=True) > 0
    inside = np.zeros((rows, cols), bool)
    inside[max(0, -row) : max(0, 300 - row), max(0, -col) : max(0, 410 - col)] = True
    data[:, ~inside] = 7
    return data, valid & inside


PLACES = st.tuples(
    st.integers(-60, 320), st.integers(-60, 430), st.integers(1, 90), st.integers(1, 90)
)


@given(places=st.lists(PLACES, min_size=1, max_size=12), told=st.booleans())
@settings(max_examples=30, deadline=None)
def test_windows_are_those_of_rasterio_wherever_they_lie(image, places, told):
    with RasterBlocks(image) as blocks:
        blocks.outside = [7, 7, 7]
        if told:
            blocks.expect([window(*place) for place in places[::-1]])
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda place: blocks.window(window(*place)), places))
    for place, (data, valid) in zip(places, found, strict=True):
        wanted, wanted_valid = read_by_rasterio(image, *place)
        np.testing.assert_array_equal(data, wanted)
        np.testing.assert_array_equal(valid, wanted_valid)


def test_each_block_is_decoded_once_though_many_windows_share_it(image, monkeypatch):
    decoded = []
    honest = RasterBlocks._decode

    def counting(self, place):
        decoded.append(place)
        return honest(self, place)

    monkeypatch.setattr(RasterBlocks, "_decode", counting)
    places = [(row, col, 100, 100) for row in range(0, 200, 20) for col in range(0, 310, 20)]
    with RasterBlocks(image) as blocks, ThreadPoolExecutor(4) as pool:
        blocks.expect([window(*place) for place in places])
        list(pool.map(lambda place: blocks.window(window(*place)), places))
    assert len(decoded) == len(set(decoded)) > 1


def test_few_blocks_are_held_however_large_the_raster(image, monkeypatch):
    monkeypatch.setattr(raster_blocks, "_LEAST_BYTES", 0)
    with RasterBlocks(image, threads=1, most_bytes=1) as blocks:
        for row in range(0, 300, 10):
            data, _ = blocks.window(window(row, 0, 1, 410))
            np.testing.assert_array_equal(data, read_by_rasterio(image, row, 0, 1, 410)[0])
            assert len(blocks._blocks) <= 4 + raster_blocks._AHEAD


def test_a_block_is_let_go_after_the_last_window_that_was_told_of(image):
    places = [(row, col, 40, 40) for row in range(0, 260, 40) for col in range(0, 370, 40)]
    with RasterBlocks(image) as blocks:
        blocks.expect([window(*place) for place in places])
        for number, place in enumerate(places):
            data, _ = blocks.window(window(*place))
            np.testing.assert_array_equal(data, read_by_rasterio(image, *place)[0])
            assert blocks._blocks or number == len(places) - 1
        assert not blocks._blocks
        # One that nobody told of is decoded again.
        data, _ = blocks.window(window(0, 0, 20, 20))
    np.testing.assert_array_equal(data, read_by_rasterio(image, 0, 0, 20, 20)[0])


def test_a_caller_may_change_a_window(image):
    with RasterBlocks(image) as blocks:
        blocks.window(window(0, 0, 20, 20))[0][:] = 1
        data, _ = blocks.window(window(0, 0, 20, 20))
    np.testing.assert_array_equal(data, read_by_rasterio(image, 0, 0, 20, 20)[0])


def test_a_window_off_the_lattice_is_refused(image):
    off = GeoBox((8, 8), GEOBOX.transform @ Affine.translation(0.4, 0), GEOBOX.crs)
    with RasterBlocks(image) as blocks, pytest.raises(SourceError, match="lattice"):
        blocks.window(off)


def test_a_file_that_is_absent_is_named_with_its_asset(tmp_path):
    with pytest.raises(StorageError, match=r"none\.tif: does not exist; materialize chips first"):
        RasterBlocks(tmp_path / "none.tif", asset="chips")


def test_a_file_that_is_replaced_while_windows_are_cut_is_named(image, tmp_path):
    """One thread alone goes on with the handle it has; a second would open the other file."""
    copy, other = tmp_path / "copy.tif", tmp_path / "other.tif"
    shutil.copyfile(image, copy)
    shutil.copyfile(image, other)
    with rasterio.open(other, "r+") as file:
        file.write(file.read() + 1)
    with RasterBlocks(copy) as blocks:
        first = blocks._idle.get_nowait()  # as while another thread decodes a block
        other.replace(copy)
        with pytest.raises(StorageError, match=r"copy\.tif: was replaced while it was read"):
            blocks.window(window(0, 0, 20, 20))
        blocks._idle.put(first)
        data, _ = blocks.window(window(0, 0, 20, 20))
    np.testing.assert_array_equal(data, read_by_rasterio(image, 0, 0, 20, 20)[0])


def test_a_damaged_file_is_named(image, tmp_path):
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(image.read_bytes()[:-60_000])
    with (
        RasterBlocks(damaged) as blocks,
        pytest.raises(StorageError, match=r"damaged\.tif: cannot be read as GeoTIFF"),
    ):
        blocks.window(window(0, 0, 300, 410))
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(StorageError, match=r"text\.tif: cannot be read as GeoTIFF"):
        RasterBlocks(tmp_path / "text.tif")
