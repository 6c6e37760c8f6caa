"""What the loopback Earth Engine offers, and how it speaks of it: ids, times, tables, answers."""

from __future__ import annotations

import datetime as dt
import json

import ee
import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from geo_assets_tests.emulators.earth_engine import Assets, ImageFile
from geo_assets_tests.emulators.earth_engine.evaluation import EarthEngineError
from geo_assets_tests.emulators.earth_engine_world import (
    COLLECTION,
    CRS,
    GRID,
    SHAPE,
    asked,
    client,
    numbers,
    pixels,
    scene,
    told,
    world,
    written,
)

__all__ = ["client", "world"]  # fixtures, which pytest finds by name

TABLE = "projects/p/assets/fields"
NEW_YEAR = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)


def indices(collection, assets):
    return told(collection.aggregate_array("system:index"), assets)


def test_images_are_offered_in_order_of_time_and_then_of_name(tmp_path):
    path = written(tmp_path / "one.tif", numbers(0))
    days = {"b": 2, "a": 2, "z": 1}
    files = [ImageFile(n, path, NEW_YEAR + dt.timedelta(d), ("R", "N")) for n, d in days.items()]
    assets = Assets()
    assets.add_collection(COLLECTION, files)
    assert indices(ee.ImageCollection(COLLECTION), assets) == ["z", "a", "b"]


def test_a_time_without_a_zone_is_utc(tmp_path):
    path = written(tmp_path / "one.tif", numbers(0))
    assets = Assets()
    assets.add_collection(COLLECTION, [ImageFile("s0", path, NEW_YEAR.replace(tzinfo=None))])
    assert told(scene().get("system:time_start"), assets) == 1_609_459_200_000


def test_bands_have_the_files_own_names_or_numbers(tmp_path):
    path = written(tmp_path / "named.tif", numbers(0))
    with rasterio.open(path, "r+") as file:
        file.set_band_description(2, "near infrared")
    assets = Assets()
    assets.add_collection(COLLECTION, [ImageFile("s0", path, NEW_YEAR)])
    assert told(scene().bandNames(), assets) == ["b1", "near infrared"]


@pytest.mark.parametrize("nodata", [np.nan, -1.0])
def test_no_data_is_masked_whatever_number_it_is(tmp_path, nodata):
    data = numbers(0, dtype="float32")
    data[0, 4:9, 3:5] = nodata
    assets = Assets()
    path = written(tmp_path / "gaps.tif", data, nodata=nodata)
    assets.add_collection(COLLECTION, [ImageFile("s0", path, NEW_YEAR, ("R", "N"))])
    oracle = np.ones(SHAPE)
    oracle[4:9, 3:5] = 0
    got = pixels(scene().mask(), assets)
    np.testing.assert_array_equal(got["R"], oracle)
    np.testing.assert_array_equal(got["N"], 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: ee.Image("projects/p/assets/no/image"), "Image.load: Image asset"),
        (lambda: ee.ImageCollection("projects/p/none"), "ImageCollection.load: ImageCollection"),
        (lambda: ee.FeatureCollection("projects/p/none"), "Collection.loadTable: Collection asset"),
    ],
)
def test_what_is_missing_is_named_in_the_services_words(world, value, message):
    with pytest.raises(EarthEngineError, match=message) as caught:
        asked(value(), world[0])
    error = json.loads(caught.value.body())["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"].endswith("not found (does not exist or caller does not have access).")


def test_dates_are_numbers_texts_or_objects(world):
    assets, _ = world
    scenes = ee.ImageCollection(COLLECTION)
    for dates in (
        ("2020-02-05", "2020-04-05"),
        (1_580_860_800_000, 1_586_044_800_000),
        (ee.Date("2020-02-05"), ee.Date.fromYMD(2020, 4, 5)),
        (dt.datetime(2020, 2, 5, tzinfo=dt.UTC), dt.datetime(2020, 4, 5, tzinfo=dt.UTC)),
    ):
        assert indices(scenes.filterDate(*dates), assets) == ["s1", "s2"]
        assert indices(scenes.filter(ee.Filter.date(*dates)), assets) == ["s1", "s2"]
    assert indices(scenes.filterDate("2020-02-05"), assets) == ["s1"]
    assert told(scene(1).date(), assets) == {"type": "Date", "value": 1_580_860_800_000}
    assert told(scene(1).date().millis(), assets) == 1_580_860_800_000


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ((2, 3, "month"), ["s1", "s2"]),
        ((4, 1, "month"), ["s0", "s3"]),
        ((2019, 2019, "year"), []),
        ((36, 36, "day_of_year"), ["s1"]),
        ((5, 5, "day_of_month"), ["s0", "s1", "s2", "s3"]),
        ((7, 7, "day_of_week"), ["s0", "s3"]),
    ],
)
def test_a_calendar_range_may_cross_the_turn_of_the_year(world, fields, found):
    some = ee.ImageCollection(COLLECTION).filter(ee.Filter.calendarRange(*fields))
    assert indices(some, world[0]) == found


def test_an_unknown_field_of_the_calendar_is_refused(world):
    with pytest.raises(EarthEngineError, match="'decade'"):
        asked(
            ee.ImageCollection(COLLECTION).filter(ee.Filter.calendarRange(1, 2, "decade")), world[0]
        )


def test_filters_combine_and_a_missing_property_equals_nothing(world):
    assets, _ = world
    scenes = ee.ImageCollection(COLLECTION)
    either = ee.Filter.Or(ee.Filter.eq("cloud", 0), ee.Filter.gt("cloud", 20))
    assert indices(scenes.filter(either), assets) == ["s0", "s3"]
    assert indices(scenes.filter(either.Not()), assets) == ["s1", "s2"]
    both = ee.Filter.And(ee.Filter.gte("cloud", 10), ee.Filter.lt("cloud", 30))
    assert indices(scenes.filter(both), assets) == ["s1", "s2"]
    for compared in (ee.Filter.eq, ee.Filter.lt, ee.Filter.gt):
        assert indices(scenes.filter(compared("snow", 1)), assets) == []
    # The client says "not equal" as the negation of "equal".
    assert len(indices(scenes.filter(ee.Filter.neq("snow", 1)), assets)) == 4


def test_an_order_may_be_turned(world):
    assets, _ = world
    scenes = ee.ImageCollection(COLLECTION)
    assert indices(scenes.sort("cloud", False), assets) == ["s3", "s2", "s1", "s0"]
    assert indices(scenes.limit(2, "cloud", False), assets) == ["s3", "s2"]
    assert told(scenes.sort("cloud", False).first().get("system:index"), assets) == "s3"


@pytest.fixture
def fields():
    shapes = [
        shapely.box(500_000 + 100 * n, 4_999_800, 500_050 + 100 * n, 4_999_900) for n in (0, 1)
    ]
    frame = geopandas.GeoDataFrame(
        {"crop": ["oat", "rye"], "ha": [1.5, None]}, geometry=shapes, crs=CRS
    )
    return frame.to_crs(4326)


def test_a_table_is_a_place_to_look_for_images(world, fields):
    assets, _ = world
    assets.add_table(TABLE, fields)
    far = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(3, 4)], crs=4326)
    assets.add_table(f"{TABLE}_far", far)
    scenes = ee.ImageCollection(COLLECTION)
    near = scenes.filterBounds(ee.FeatureCollection(TABLE))
    assert indices(near, assets) == ["s0", "s1", "s2", "s3"]
    assert indices(scenes.filterBounds(ee.FeatureCollection(f"{TABLE}_far")), assets) == []


def test_a_feature_without_a_geometry_lies_nowhere(world):
    table = ee.FeatureCollection([ee.Feature(None, {"a": 1}), ee.Feature(ee.Geometry.Point(1, 2))])
    found = table.filterBounds(ee.Geometry.BBox(0, 0, 5, 5))
    assert told(found.size(), world[0]) == 1


def test_values_of_a_property_come_in_order_without_gaps(world):
    assets, _ = world
    table = ee.FeatureCollection(
        [ee.Feature(None, {"a": 2}), ee.Feature(None), ee.Feature(None, {"a": 1})]
    )
    assert told(table.aggregate_array("a"), assets) == [2, 1]
    assert told(ee.ImageCollection(COLLECTION).aggregate_array("cloud"), assets) == [0, 10, 20, 30]


def test_every_kind_of_value_has_its_json(world, fields):
    assets, _ = world
    assets.add_table(TABLE, fields)
    assert told(ee.Number(2), assets) == 2
    assert told(ee.String("a"), assets) == "a"
    assert told(ee.List([1, ee.Image(1).bandNames()]), assets) == [1, ["constant"]]
    assert told(ee.Dictionary({"n": ee.ImageCollection(COLLECTION).size()}), assets) == {"n": 4}
    assert told(ee.Geometry.Point([1, 2]), assets)["coordinates"] == [1, 2]
    assert told(scene().projection(), assets) == {
        "type": "Projection", "crs": CRS, "transform": list(GRID)[:6],
    }  # fmt: skip
    spring = told(ee.DateRange("1970-01-01", "1970-01-02"), assets)
    assert spring == {"type": "DateRange", "dates": [0, 86_400_000]}
    scenes = told(ee.ImageCollection(COLLECTION).select("R"), assets)
    assert [image["bands"][0]["id"] for image in scenes["features"]] == ["R"] * 4
    table = told(ee.FeatureCollection(TABLE), assets)
    assert [feature["properties"]["crop"] for feature in table["features"]] == ["oat", "rye"]
    assert told(ee.Feature(ee.Geometry.Point([1, 2]), {"a": 1}), assets)["properties"] == {"a": 1}
    assert told(ee.ImageCollection(COLLECTION).filterDate("1999").first(), assets) is None


def test_what_json_cannot_say_and_what_is_too_long_is_refused(world):
    assets, _ = world
    with pytest.raises(EarthEngineError, match="cannot be converted to JSON"):
        told(ee.Filter.eq("a", 1), assets)
    assets.add_table(TABLE, geopandas.GeoDataFrame(geometry=[shapely.Point(1, 2)] * 5001, crs=4326))
    with pytest.raises(EarthEngineError, match="5000 elements"):
        told(ee.FeatureCollection(TABLE), assets)
    assert told(ee.FeatureCollection(TABLE).size(), assets) == 5001


def test_a_mapped_collection_is_of_what_the_function_makes(world):
    assets, _ = world
    scenes = ee.ImageCollection(COLLECTION)
    outlines = scenes.map(lambda image: ee.Feature(None, {"cloud": ee.Image(image).get("cloud")}))
    assert told(outlines, assets)["type"] == "FeatureCollection"
    constants = ee.ImageCollection(
        outlines.map(lambda f: ee.Image.constant(1).set("cloud", f.get("cloud")))
    )
    assert indices(constants.filter(ee.Filter.gt("cloud", 10)), assets) == ["s2", "s3"]
    np.testing.assert_array_equal(pixels(constants.sum(), assets)["constant"], 4)
    none = scenes.filterDate("1999").map(lambda image: image.add(1))
    assert told(none, assets)["type"] == "ImageCollection"
