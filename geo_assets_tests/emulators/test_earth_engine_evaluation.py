"""Images of the official client, evaluated over local rasters, against rasterio, GDAL and numpy."""

from __future__ import annotations

import datetime as dt

import ee
import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.warp import Resampling, reproject

from geo_assets_tests.emulators.earth_engine import Assets, ImageFile
from geo_assets_tests.emulators.earth_engine_world import (
    COLLECTION,
    CRS,
    GRID,
    SHAPE,
    client,
    numbers,
    pixels,
    scene,
    told,
    world,
)

__all__ = ["client", "world"]  # fixtures, which pytest finds by name


def test_pixels_of_a_window_are_those_that_rasterio_reads(world):
    assets, arrays = world
    got = pixels(scene(), assets, shape=(6, 7), transform=GRID @ Affine.translation(5, 3))
    np.testing.assert_array_equal(got["R"], arrays[0, 0, 3:9, 5:12])
    assert got.dtype.names == ("R", "N")
    assert got.dtype["R"] == np.uint16


def test_pixels_beyond_a_scene_are_masked_and_zero_in_an_array(world):
    assets, arrays = world
    got = pixels(scene().select("N"), assets, transform=GRID @ Affine.translation(-4, -3))
    np.testing.assert_array_equal(got["N"][3:, 4:], arrays[0, 1, :-3, :-4])
    assert not got["N"][:3].any()
    assert not got["N"][:, :4].any()


def test_an_image_says_what_it_is(world):
    image = told(scene(1), world[0])
    assert image["type"] == "Image"
    assert image["id"] == f"{COLLECTION}/s1"
    assert image["version"] == 1
    assert image["bands"][0] == {
        "id": "R",
        "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "dimensions": [30, 24],
        "crs": CRS,
        "crs_transform": [10, 0, 500_000, 0, -10, 5_000_000],
    }
    properties = image["properties"]
    assert properties["system:time_start"] == 1_580_860_800_000
    outline = shapely.Polygon(properties["system:footprint"]["coordinates"])
    truth = geopandas.GeoSeries([shapely.box(500_000, 4_999_760, 500_300, 5_000_000)], crs=CRS)
    assert outline.symmetric_difference(truth.to_crs(4326)[0]).area < 1e-3 * outline.area


def test_what_a_mask_hides_is_hidden_from_arithmetic_and_shown_by_unmask(world):
    assets, arrays = world
    red = scene().select("R")
    hidden = red.updateMask(red.gt(500))
    got = pixels(hidden.add(1).unmask(7).addBands(hidden.mask().rename("m")), assets)
    np.testing.assert_array_equal(
        got["R"], np.where(arrays[0, 0] > 500, arrays[0, 0].astype(int) + 1, 7)
    )
    np.testing.assert_array_equal(got["m"], arrays[0, 0] > 500)


def test_arithmetic_neither_wraps_nor_rounds_and_casts_clamp(world):
    assets, arrays = world
    red, near = scene().select("R"), scene().select("N")
    n, r = arrays[0, 1].astype(float), arrays[0, 0].astype(float)
    got = pixels(near.subtract(red), assets)["N"]
    np.testing.assert_array_equal(got, n - r)
    ratio = near.subtract(red).divide(near.add(red))
    np.testing.assert_allclose(pixels(ratio, assets)["N"], (n - r) / (n + r), rtol=1e-15)
    np.testing.assert_array_equal(
        pixels(near.toUint8(), assets)["N"], np.clip(n, 0, 255).astype(np.uint8)
    )


def test_halves_are_rounded_up(world):
    halves = ee.Image.constant([0.5, 1.5, 2.5, -0.5, 2.4])
    got = pixels(halves.round(), world[0], shape=(1, 1))[0, 0]
    assert list(got) == [1, 2, 3, 0, 2]


def test_classes_are_mapped_and_what_is_not_listed_is_masked_or_defaulted(world):
    assets, arrays = world
    tens = scene().select("R").mod(10).int()
    digit = arrays[0, 0] % 10
    np.testing.assert_array_equal(
        pixels(tens.remap([3, 8], [1, 2], 9), assets)["remapped"],
        np.select([digit == 3, digit == 8], [1, 2], 9),
    )
    np.testing.assert_array_equal(
        pixels(tens.remap([3], [5]).mask(), assets)["remapped"], digit == 3
    )


def test_a_focal_maximum_reaches_as_far_as_its_metres(world):
    assets, arrays = world
    bright = arrays[0, 0] > 950
    got = pixels(scene().select("R").gt(950).focalMax(25, "circle", "meters"), assets)["R"]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    near = [
        (10 * (y - row)) ** 2 + (10 * (x - col)) ** 2 <= 25**2
        for row, col in np.argwhere(bright)
    ]  # fmt: skip
    np.testing.assert_array_equal(got > 0, np.any(near, axis=0))


def test_bilinear_is_gdals_inside_a_scene(world):
    assets, arrays = world
    fine = Affine(4, 0, 500_050, 0, -4, 4_999_950)
    got = pixels(
        scene().select("R").resample("bilinear").toDouble().reproject(CRS, list(fine)[:6]),
        assets, shape=(30, 40), transform=fine,
    )  # fmt: skip
    oracle = np.zeros((30, 40))
    reproject(
        arrays[0, 0].astype(float), oracle, src_transform=GRID, src_crs=CRS,
        dst_transform=fine, dst_crs=CRS, resampling=Resampling.bilinear,
    )  # fmt: skip
    np.testing.assert_allclose(got["R"], oracle, rtol=1e-6)


def test_nearest_takes_the_pixel_that_holds_the_centre_in_another_crs(world):
    assets, arrays = world
    utm34 = geopandas.GeoSeries([shapely.Point(500_150, 4_999_880)], crs=CRS).to_crs(32634)[0]
    other = Affine(7, 0, utm34.x, 0, -7, utm34.y)
    got = pixels(scene().select("R"), assets, shape=(5, 6), transform=other, crs="EPSG:32634")["R"]
    col, row = np.meshgrid(np.arange(6) + 0.5, np.arange(5) + 0.5)
    x, y = other.a * col + other.c, other.e * row + other.f
    points = geopandas.GeoSeries.from_xy(x.ravel(), y.ravel(), crs=32634).to_crs(CRS)
    c = np.floor((points.x - 500_000) / 10).astype(int)
    r = np.floor((5_000_000 - points.y) / 10).astype(int)
    np.testing.assert_array_equal(got.ravel(), arrays[0, 0][r, c])


def test_a_clip_masks_what_lies_outside(world):
    assets, arrays = world
    area = ee.Geometry.Rectangle([500_050, 4_999_850, 500_120, 4_999_930], CRS, False, True)
    got = pixels(scene().select("R").clip(area), assets)["R"]
    oracle = np.zeros(SHAPE, int)
    oracle[7:15, 5:12] = arrays[0, 0, 7:15, 5:12]
    np.testing.assert_array_equal(got, oracle)


def test_a_mask_band_says_where_a_raster_has_no_datum(tmp_path):
    data, there = numbers(9), np.random.default_rng(1).random(SHAPE) > 0.4
    path = tmp_path / "masked.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", count=2, height=SHAPE[0], width=SHAPE[1],
            dtype="uint16", crs=CRS, transform=GRID,
        ) as file,
    ):  # fmt: skip
        file.write(data)
        file.write_mask(there)
    assets = Assets()
    day = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    assets.add_collection(COLLECTION, [ImageFile("s0", path, day, ("R", "N"))])
    got = pixels(scene().mask(), assets, transform=GRID @ Affine.translation(3, 2))
    np.testing.assert_array_equal(got["N"][:-2, :-3], there[2:, 3:])
