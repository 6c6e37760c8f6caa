"""Expressions of the official client, evaluated over local rasters, against rasterio and numpy."""

from __future__ import annotations

import datetime as dt
import io
import json
from concurrent.futures import ThreadPoolExecutor

import ee
import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject

from geo_assets_tests.emulators.earth_engine import Assets, ImageFile
from geo_assets_tests.emulators.earth_engine.algorithms.reducers import reduced
from geo_assets_tests.emulators.earth_engine.evaluation import (
    EarthEngineError,
    evaluate,
    features_of,
    info,
    render,
)
from geo_assets_tests.emulators.earth_engine.values import Reducer
from geo_assets_tests.sources.earth_engine.scripted import session_with

CRS = "EPSG:32633"
GRID = Affine(10, 0, 500_000, 0, -10, 5_000_000)
COLLECTION = "projects/p/assets/scenes"
SHAPE = (24, 30)


@pytest.fixture(autouse=True)
def client():
    """The official client, with the algorithms that its own wheel lists."""
    session_with().prepare()


def numbers(seed, *, bands=2, dtype="uint16"):
    return np.random.default_rng(seed).integers(1, 1000, (bands, *SHAPE)).astype(dtype)


def written(path, data, transform=GRID, nodata=0):
    with rasterio.open(
        path, "w", driver="GTiff", count=len(data), height=data.shape[1], width=data.shape[2],
        dtype=data.dtype, crs=CRS, transform=transform, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(data)
    return path


@pytest.fixture
def world(tmp_path):
    """Four scenes of two bands on one grid, the first pixels of some masked, and their arrays."""
    arrays, files = [], []
    for number in range(4):
        data = numbers(number)
        data[:, :number, :] = 0
        day = dt.datetime(2020, 1 + number, 5, tzinfo=dt.UTC)
        path = written(tmp_path / f"{number}.tif", data)
        files.append(ImageFile(f"s{number}", path, day, ("R", "N"), {"cloud": 10 * number}))
        arrays.append(data)
    assets = Assets()
    assets.add_collection(COLLECTION, files)
    return assets, np.stack(arrays)


def asked(value, assets):
    """What the service makes of an object of the client."""
    return evaluate(ee.serializer.encode(value, for_cloud_api=True), assets)


def told(value, assets):
    """What ``getInfo`` would give, through JSON as on the wire."""
    return json.loads(json.dumps(info(asked(value, assets))))


def grid_of(shape=SHAPE, transform=GRID, crs=CRS):
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    return {
        "dimensions": {"height": shape[0], "width": shape[1]},
        "affineTransform": dict(zip(names, list(transform)[:6], strict=True)),
        "crsCode": crs,
    }


def pixels(value, assets, **grid):
    """The record array that a request for NPY gives."""
    return np.load(io.BytesIO(render(asked(value, assets), "NPY", grid_of(**grid))))


def scene(number=0):
    return ee.Image(f"{COLLECTION}/s{number}")


def masked(arrays):
    return np.where(arrays == 0, np.nan, arrays.astype(float))


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


@pytest.mark.parametrize("reducer", ["median", "mean", "min", "max", "sum"])
def test_a_composite_is_numpys_over_pixels_that_are_not_masked(world, reducer):
    assets, arrays = world
    got = pixels(getattr(ee.ImageCollection(COLLECTION), reducer)(), assets)
    oracle = getattr(np, f"nan{reducer}")(masked(arrays), axis=0)
    for number, band in enumerate(("R", "N")):
        np.testing.assert_allclose(got[band], oracle[number], rtol=1e-15)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_median_of_any_number_of_scenes_is_numpys(world, count):
    assets, arrays = world
    some = ee.ImageCollection(COLLECTION).limit(count)
    np.testing.assert_array_equal(
        pixels(some.median(), assets)["N"], np.nanmedian(masked(arrays)[:count], axis=0)[1]
    )


def test_composites_lie_in_degrees_and_medians_are_double(world):
    image = told(ee.ImageCollection(COLLECTION).median(), world[0])
    assert image["bands"][0]["crs"] == "EPSG:4326"
    assert image["bands"][0]["data_type"] == {"type": "PixelType", "precision": "double"}
    assert told(ee.ImageCollection(COLLECTION).max(), world[0])["bands"][0]["data_type"]["max"] == (
        65535
    )


def test_the_last_image_of_a_mosaic_lies_on_top(world):
    assets, arrays = world
    got = pixels(ee.ImageCollection([scene(3), scene(1)]).mosaic(), assets)
    np.testing.assert_array_equal(got["R"], arrays[1, 0])
    below = pixels(ee.ImageCollection([scene(0), scene(3)]).mosaic(), assets)
    np.testing.assert_array_equal(
        below["R"], np.where(arrays[3, 0] == 0, arrays[0, 0], arrays[3, 0])
    )


def test_filters_choose_by_date_place_and_property(world):
    assets, _ = world
    scenes = ee.ImageCollection(COLLECTION)

    def indices(collection):
        return told(collection.aggregate_array("system:index"), assets)

    assert indices(scenes.filterDate("2020-02-05", "2020-04-05")) == ["s1", "s2"]
    assert indices(scenes.filter(ee.Filter.inList("system:index", ["s3", "s0"]))) == ["s0", "s3"]
    assert indices(scenes.filter(ee.Filter.lte("cloud", 10))) == ["s0", "s1"]
    assert indices(scenes.filter(ee.Filter.neq("cloud", 10))) == ["s0", "s2", "s3"]
    near, far = ee.Geometry.Point([15.001, 45.152]), ee.Geometry.Point([16, 45])
    assert indices(scenes.filterBounds(near)) == ["s0", "s1", "s2", "s3"]
    assert indices(scenes.filterBounds(far)) == []


def test_a_list_comes_in_pages(world):
    assets, _ = world
    pages = [told(ee.ImageCollection(COLLECTION).toList(3, start), assets) for start in (0, 3, 6)]
    assert [[image["properties"]["system:index"] for image in page] for page in pages] == [
        ["s0", "s1", "s2"],
        ["s3"],
        [],
    ]
    with pytest.raises(EarthEngineError, match="5000 elements"):
        asked(ee.ImageCollection(COLLECTION).toList(5001), assets)


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


def test_an_inner_function_sees_the_arguments_of_the_outer_one(world):
    assets, arrays = world
    scenes = ee.ImageCollection(COLLECTION).limit(2)
    table = ee.FeatureCollection([ee.Feature(None, {"add": 100}), ee.Feature(None, {"add": 200})])

    def outer(image):
        image = ee.Image(image)
        return ee.ImageCollection(
            scenes.map(lambda other: ee.Image(other).subtract(image))
        ).max().set("features", table.size())  # fmt: skip

    got = pixels(ee.ImageCollection(scenes.map(outer)).sum(), assets)
    first, second = masked(arrays)[:2, 0]
    oracle = np.fmax(first - first, second - first), np.fmax(first - second, second - second)
    np.testing.assert_array_equal(got["R"], np.nansum(oracle, axis=0))


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


def test_a_scene_is_linked_with_bands_of_its_own_name(world):
    assets, arrays = world
    scores = ee.ImageCollection(COLLECTION).select(["N"], ["score"])
    got = pixels(scene(2).select("R").linkCollection(scores, ["score"]), assets)
    np.testing.assert_array_equal(got["score"], arrays[2, 1])


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


@pytest.fixture
def fields():
    shapes = [shapely.Point(500_100 + 30 * n, 4_999_900).buffer(28) for n in range(5)]
    frame = geopandas.GeoDataFrame(
        {"crop": [3, 1, 4, 1, 5], "split": list("aabba")}, geometry=shapes, crs=CRS
    )
    return frame.to_crs(4326)


@pytest.mark.parametrize("reducer", ["max", "min"])
def test_polygons_are_burned_where_they_touch_and_the_reducer_decides(world, fields, reducer):
    assets, _ = world
    assets.add_table("projects/p/assets/fields", fields)
    table = ee.FeatureCollection("projects/p/assets/fields").filter(ee.Filter.eq("split", "a"))
    burned = table.reduceToImage(["crop"], getattr(ee.Reducer, reducer)()).unmask(0)
    got = pixels(burned, assets)[reducer]
    own = fields[fields["split"] == "a"].to_crs(CRS)
    layers = [
        rasterize([g], out_shape=SHAPE, transform=GRID, all_touched=True) * float(crop)
        for g, crop in zip(own.geometry, own["crop"], strict=True)
    ]
    stack = np.where(np.stack(layers) == 0, np.nan, layers)
    known = ~np.isnan(stack).all(axis=0)
    oracle = getattr(np, f"nan{reducer}")(np.where(known, stack, 0), axis=0)
    np.testing.assert_array_equal(got, oracle)


def test_features_of_a_table_are_geojson(world, fields):
    assets, _ = world
    assets.add_table("projects/p/assets/fields", fields)
    found = features_of(
        asked(
            ee.FeatureCollection("projects/p/assets/fields").filter(ee.Filter.eq("crop", 1)), assets
        )
    )
    assert [feature["properties"] for feature in json.loads(json.dumps(found))] == [
        {"crop": 1, "split": "a"},
        {"crop": 1, "split": "b"},
    ]
    assert shapely.geometry.shape(found[0]["geometry"]).equals(fields.geometry[1])


def test_a_clip_masks_what_lies_outside(world):
    assets, arrays = world
    area = ee.Geometry.Rectangle([500_050, 4_999_850, 500_120, 4_999_930], CRS, False, True)
    got = pixels(scene().select("R").clip(area), assets)["R"]
    oracle = np.zeros(SHAPE, int)
    oracle[7:15, 5:12] = arrays[0, 0, 7:15, 5:12]
    np.testing.assert_array_equal(got, oracle)


def test_what_does_not_exist_is_refused_in_the_services_words(world):
    assets, _ = world
    with pytest.raises(EarthEngineError, match="not found"):
        asked(ee.Image("projects/p/assets/nothing/at_all"), assets)
    with pytest.raises(EarthEngineError, match="no matching bands"):
        asked(scene().select("X"), assets)
    with pytest.raises(EarthEngineError, match="50331648 bytes"):
        render(asked(scene(), assets), "NPY", grid_of((8000, 8000)))
    with pytest.raises(EarthEngineError, match="Unknown algorithm"):
        asked(scene().gradient(), assets)


def test_many_threads_get_what_one_gets(world):
    assets, _ = world
    median = asked(ee.ImageCollection(COLLECTION).median().toUint16(), assets)
    grids = [grid_of((8, 8), GRID @ Affine.translation(n % 20, n % 15)) for n in range(60)]
    alone = [render(median, "NPY", grid) for grid in grids]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda grid: render(median, "NPY", grid), grids)) == alone


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_median_is_numpys_whatever_is_masked(data):
    shape = (data.draw(st.integers(1, 9)), 3, 4)
    dtype = data.draw(st.sampled_from(["uint8", "int16", "uint16", "int32"]))
    values = data.draw(arrays_of.arrays(dtype, shape))
    masks = data.draw(arrays_of.arrays(bool, shape))
    got, known = reduced(list(zip(values, masks, strict=True)), Reducer("median"))
    np.testing.assert_array_equal(known, masks.any(axis=0))
    oracle = np.nanmedian(np.where(masks | ~known, values, np.nan).astype(float), axis=0)
    np.testing.assert_array_equal(got[known], oracle[known])


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
