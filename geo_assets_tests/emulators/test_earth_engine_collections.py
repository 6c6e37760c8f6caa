"""Collections and tables of the official client: filters, reducers, order, polygons, threads."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import ee
import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from rasterio.features import rasterize

from geo_assets_tests.emulators.earth_engine.algorithms.reducers import reduced
from geo_assets_tests.emulators.earth_engine.evaluation import (
    EarthEngineError,
    features_of,
    render,
)
from geo_assets_tests.emulators.earth_engine.values import Reducer
from geo_assets_tests.emulators.earth_engine_world import (
    COLLECTION,
    CRS,
    GRID,
    SHAPE,
    asked,
    client,
    grid_of,
    masked,
    pixels,
    scene,
    told,
    world,
)

__all__ = ["client", "world"]  # fixtures, which pytest finds by name


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


def test_a_scene_is_linked_with_bands_of_its_own_name(world):
    assets, arrays = world
    scores = ee.ImageCollection(COLLECTION).select(["N"], ["score"])
    got = pixels(scene(2).select("R").linkCollection(scores, ["score"]), assets)
    np.testing.assert_array_equal(got["score"], arrays[2, 1])


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
