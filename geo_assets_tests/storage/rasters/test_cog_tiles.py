"""Blocks unpacked without GDAL are those that GDAL unpacks; of other files GDAL is asked."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geo_assets.errors import StorageError
from geo_assets.storage.rasters.cog import write_cog
from geo_assets.storage.rasters.cog_tiles import CogTiles
from geo_assets.storage.rasters.raster_blocks import RasterBlocks

SHAPE = (1100, 700)
GEOBOX = GeoBox(SHAPE, Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")


def pixels(count: int, dtype: str) -> np.ndarray:
    """Values over all of the dtype, so that differences wrap."""
    limits = np.iinfo(dtype)
    generator = np.random.default_rng(3)
    return generator.integers(limits.min, limits.max, (count, *SHAPE), dtype, endpoint=True)


def block_by_gdal(dataset, row, col):
    return dataset.read(window=Window(col * 512, row * 512, 512, 512), boundless=False)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("count", [1, 5])
def test_every_block_is_that_of_gdal(tmp_path, dtype, count):
    image = tmp_path / "image.tif"
    valid = np.random.default_rng(4).random(SHAPE) < 0.9
    write_cog(image, pixels(count, dtype), GEOBOX, valid=valid)
    with rasterio.open(image) as dataset, closing(CogTiles(image, dataset)) as tiles:
        assert tiles.known
        for row in range(3):
            for col in range(2):
                wanted = block_by_gdal(dataset, row, col)
                block = tiles.read(dataset, row, col)
                assert block.shape == (count, 512, 512)
                inside = block[:, : wanted.shape[1], : wanted.shape[2]]
                np.testing.assert_array_equal(inside, wanted)


@pytest.mark.parametrize(
    "other",
    [
        {"compress": "deflate"},
        {"predictor": 1},
        {"interleave": "band"},
        {"tiled": False},
        {"dtype": "float32", "predictor": 3},
        {"endianness": "big"},
    ],
    ids=str,
)
def test_a_file_of_another_form_is_left_to_gdal(tmp_path, other):
    image = tmp_path / "image.tif"
    form = {"compress": "zstd", "predictor": 2, "interleave": "pixel", "tiled": True}
    form |= {"dtype": "uint16", **other}
    data = pixels(3, "uint16").astype(form["dtype"])
    with rasterio.open(
        image, "w", driver="GTiff", count=3, height=SHAPE[0], width=SHAPE[1], **form
    ) as file:
        file.write(data)
    with rasterio.open(image) as dataset, closing(CogTiles(image, dataset)) as tiles:
        assert not tiles.known


def test_windows_of_a_published_cog_are_its_pixels(tmp_path):
    image = tmp_path / "image.tif"
    data, valid = pixels(5, "uint16"), np.random.default_rng(5).random(SHAPE) < 0.5
    write_cog(image, data, GEOBOX, valid=valid)
    with RasterBlocks(image) as blocks:
        found, found_valid = blocks.window(GEOBOX)
    np.testing.assert_array_equal(found, data)
    np.testing.assert_array_equal(found_valid, valid)


def test_a_block_that_was_never_written_is_read_by_gdal(tmp_path):
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
    with RasterBlocks(image) as blocks:
        assert blocks._direct
        found, valid = blocks.window(blocks.geobox)
    assert (found[:, :, :512] == 9).all()
    assert (found[:, :, 512:] == 7).all()
    assert valid[:, :512].all()
    assert not valid[:, 512:].any()


@pytest.mark.parametrize("damage", [b"\0" * 64, b"\xff" * 64])
def test_a_damaged_block_is_named(tmp_path, damage):
    image = tmp_path / "image.tif"
    write_cog(image, pixels(2, "uint16"), GEOBOX)
    with rasterio.open(image) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
    with image.open("r+b") as file:
        file.seek(start)
        file.write(damage)
    with (
        RasterBlocks(image) as blocks,
        pytest.raises(StorageError, match=r"image\.tif: cannot be read as GeoTIFF: block 0, 1: "),
    ):
        blocks.window(GEOBOX)
