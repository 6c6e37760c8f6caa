"""Windows unpacked without GDAL are those that GDAL unpacks; of other files GDAL is asked."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Zstd
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geo_assets.errors import StorageError
from geo_assets.storage.rasters.cog import write_cog
from geo_assets.storage.rasters.raster_blocks import RasterBlocks
from geo_assets.storage.rasters.tiff_tiles import TiffForm, read_pixels

SHAPE = (1100, 700)
GEOBOX = GeoBox(SHAPE, Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")
WHOLE = Window(0, 0, SHAPE[1], SHAPE[0])


def pixels(count: int, dtype: str) -> np.ndarray:
    """Values over all of the dtype, so that differences wrap."""
    limits = np.iinfo(dtype)
    generator = np.random.default_rng(3)
    return generator.integers(limits.min, limits.max, (count, *SHAPE), dtype, endpoint=True)


def write(path, data, **form):
    form = {
        "driver": "GTiff",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 128,
        "compress": "deflate",
        "crs": "EPSG:32633",
        "transform": GEOBOX.transform,
    } | form
    size = {"count": len(data), "height": SHAPE[0], "width": SHAPE[1], "dtype": data.dtype}
    with rasterio.open(path, "w", **{**size, **form}) as file:
        file.write(data)


def read_here(dataset, indexes, window):
    """Read without GDAL, which may not be asked."""
    out = np.empty((len(indexes), window.height, window.width), dataset.dtypes[0])
    assert TiffForm.of(dataset).read(dataset, indexes, window, out)
    return out


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("compress", ["deflate", "zstd"])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_pixels_are_those_that_were_written(tmp_path, dtype, compress, predictor, interleave):
    image, data = tmp_path / "image.tif", pixels(3, dtype)
    write(image, data, compress=compress, predictor=predictor, interleave=interleave)
    with rasterio.open(image) as dataset:
        np.testing.assert_array_equal(read_here(dataset, [1, 2, 3], WHOLE), data)
        np.testing.assert_array_equal(read_here(dataset, [3, 1], WHOLE), data[[2, 0]])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("tiles"), pixels(3, "uint16")
    for interleave in ("band", "pixel"):
        write(folder / f"{interleave}.tif", data, predictor=2, interleave=interleave)
    return folder, data


@settings(deadline=None)
@given(
    rows=st.tuples(st.integers(0, SHAPE[0]), st.integers(0, SHAPE[0])).map(sorted),
    cols=st.tuples(st.integers(0, SHAPE[1]), st.integers(0, SHAPE[1])).map(sorted),
    interleave=st.sampled_from(["band", "pixel"]),
)
def test_any_window_is_a_part_of_the_whole(images, rows, cols, interleave):
    folder, data = images
    window = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
    with rasterio.open(folder / f"{interleave}.tif") as dataset:
        found = read_here(dataset, [2, 3], window)
    np.testing.assert_array_equal(found, data[1:, slice(*rows), slice(*cols)])


@pytest.mark.parametrize("count", [1, 5])
def test_published_cogs_are_of_a_known_form(tmp_path, count):
    image = tmp_path / "image.tif"
    data, valid = pixels(count, "uint16"), np.random.default_rng(5).random(SHAPE) < 0.5
    write_cog(image, data, GEOBOX, valid=valid)
    with rasterio.open(image) as dataset:
        np.testing.assert_array_equal(read_here(dataset, list(range(1, count + 1)), WHOLE), data)
    with RasterBlocks(image) as blocks:
        found, found_valid = blocks.window(GEOBOX)
    np.testing.assert_array_equal(found, data)
    np.testing.assert_array_equal(found_valid, valid)


def test_pixels_go_into_a_part_of_an_array(tmp_path):
    image, data = tmp_path / "image.tif", pixels(1, "uint16")
    write(image, data, predictor=2)
    room = np.zeros((3, *SHAPE), "uint16")
    with rasterio.open(image) as dataset:
        read_pixels(dataset, [1], WHOLE, out=room[1:2])
    np.testing.assert_array_equal(room[1], data[0])
    assert not room[[0, 2]].any()


@pytest.mark.parametrize(
    "other",
    [
        {"compress": "lzw"},
        {"tiled": False, "blockysize": 16},
        {"dtype": "float32", "predictor": 3},
        {"endianness": "big"},
        {"nbits": 12},
        {"dtype": "uint64"},
        {"dtype": "uint8", "photometric": "cmyk", "interleave": "pixel"},
    ],
    ids=str,
)
def test_a_file_of_another_form_is_read_by_gdal(tmp_path, other):
    image = tmp_path / "image.tif"
    data = (pixels(4, "uint16") >> 4).astype(other.get("dtype", "uint16"))
    if "tiled" in other:
        other = {"blockxsize": None, **other}
    write(image, data, **other)
    with rasterio.open(image) as dataset:
        assert TiffForm.of(dataset) is None
        found = read_pixels(dataset, [4, 1], WHOLE)
        np.testing.assert_array_equal(found, dataset.read([4, 1]))
    if "photometric" not in other:
        np.testing.assert_array_equal(found, data[[3, 0]])


def test_a_tile_that_was_never_written_is_read_by_gdal(tmp_path):
    image = tmp_path / "sparse.tif"
    form = {"compress": "zstd", "predictor": 2, "interleave": "pixel", "tiled": True}
    form |= {"blockxsize": 512, "blockysize": 512, "sparse_ok": True, "nodata": 7}
    data = np.full((2, 512, 512), 9, "uint16")
    with rasterio.open(
        image,
        "w",
        driver="GTiff",
        count=2,
        height=512,
        width=1024,
        dtype="uint16",
        crs="EPSG:32633",
        transform=GEOBOX.transform,
        **form,
    ) as file:
        file.write(data, window=Window(0, 0, 512, 512))
    with rasterio.open(image) as dataset:
        assert TiffForm.of(dataset) is not None
    with RasterBlocks(image) as blocks:
        found, valid = blocks.window(blocks.geobox)
    assert (found[:, :, :512] == 9).all()
    assert (found[:, :, 512:] == 7).all()
    assert valid[:, :512].all()
    assert not valid[:, 512:].any()


@pytest.mark.parametrize("damage", [b"\0" * 64, b"\xff" * 64])
@pytest.mark.parametrize("compress", ["deflate", "zstd"])
def test_a_damaged_tile_is_refused_in_gdals_words(tmp_path, damage, compress):
    image = tmp_path / "image.tif"
    write(image, pixels(2, "uint16"), compress=compress)
    with rasterio.open(image) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
    with image.open("r+b") as file:
        file.seek(start)
        file.write(damage)
    said = r"image\.tif: cannot be read as GeoTIFF: block 0, 1: .*Decod"
    with RasterBlocks(image) as blocks, pytest.raises(StorageError, match=said):
        blocks.window(GEOBOX)


def test_a_place_beyond_every_file_is_left_to_gdal(tmp_path):
    image = tmp_path / "image.tif"
    write(image, pixels(1, "uint16"), bigtiff="yes")
    with rasterio.open(image) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    damaged = image.read_bytes().replace(struct.pack("<Q", start), struct.pack("<Q", 2**63), 1)
    image.write_bytes(damaged)
    with rasterio.open(image) as dataset, pytest.raises(rasterio.errors.RasterioIOError):
        read_pixels(dataset, [1], WHOLE)


@pytest.mark.parametrize(
    ("compress", "pack"), [("deflate", zlib.compress), ("zstd", Zstd().encode)]
)
@pytest.mark.parametrize("size", [0, 65_535, 65_537, 2**26])
def test_a_tile_of_another_size_is_not_unpacked(tmp_path, compress, pack, size):
    image, room = tmp_path / "image.tif", np.empty(65_536, np.uint8)
    write(image, pixels(1, "uint16"), compress=compress)
    with rasterio.open(image) as dataset:
        form = TiffForm.of(dataset)
    assert form._tile(pack(bytes(65_536)), room).shape == (128, 256, 1)
    assert not room.any()
    with pytest.raises((ValueError, RuntimeError)):
        form._tile(pack(bytes(size)), room)


def test_a_file_that_was_replaced_is_read_as_it_was(tmp_path):
    image, other = tmp_path / "image.tif", tmp_path / "other.tif"
    before, after = pixels(1, "uint16"), pixels(1, "uint16")[:, ::-1]
    write(image, before)
    write(other, after)
    with rasterio.open(image) as dataset:
        assert read_pixels(dataset, [1], Window(0, 0, 5, 5)).shape == (1, 5, 5)
        other.rename(image)
        np.testing.assert_array_equal(read_pixels(dataset, [1], WHOLE), before)
    with rasterio.open(image) as dataset:
        np.testing.assert_array_equal(read_pixels(dataset, [1], WHOLE), after)


def test_a_side_file_that_contradicts_the_file_changes_no_pixel(tmp_path):
    image, data = tmp_path / "image.tif", pixels(1, "uint16")
    write(image, data, predictor=1)
    (tmp_path / "image.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="IMAGE_STRUCTURE"><MDI key="PREDICTOR">2</MDI></Metadata>'
        "</PAMDataset>"
    )
    with rasterio.open(image) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        np.testing.assert_array_equal(read_pixels(dataset, [1], WHOLE), data)


def test_windows_beyond_the_file_and_arrays_of_another_dtype_are_gdals(tmp_path):
    image, data = tmp_path / "image.tif", pixels(1, "uint16")
    write(image, data)
    beyond = Window(600, 1000, 512, 512)
    with rasterio.open(image) as dataset:
        np.testing.assert_array_equal(read_pixels(dataset, [1], beyond), data[:, 1000:, 600:])
        wide = read_pixels(dataset, [1], WHOLE, out=np.empty((1, *SHAPE), "float64"))
    np.testing.assert_array_equal(wide, data)


def test_no_file_stays_open(tmp_path):
    image = tmp_path / "image.tif"
    write(image, pixels(1, "uint16"))
    with rasterio.open(image) as dataset:
        read_pixels(dataset, [1], WHOLE)
    assert image not in [link.resolve() for link in Path("/proc/self/fd").iterdir()]
