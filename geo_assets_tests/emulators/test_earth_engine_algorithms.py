"""Algorithms of the loopback Earth Engine one by one: dtypes, masks, edges, names, grids."""

from __future__ import annotations

import ee
import numpy as np
import pytest
from affine import Affine
from scipy.ndimage import map_coordinates

from geo_assets_tests.emulators.earth_engine.evaluation import EarthEngineError, evaluate
from geo_assets_tests.emulators.earth_engine_world import (
    COLLECTION,
    CRS,
    GRID,
    SHAPE,
    asked,
    client,
    pixels,
    scene,
    told,
    world,
)

__all__ = ["client", "world"]  # fixtures, which pytest finds by name

BEYOND = {"transform": GRID @ Affine.translation(-4, -3)}


def test_unmask_fills_no_pixel_beyond_the_edges_unless_the_footprint_may_grow(world):
    assets, arrays = world
    inside = np.zeros(SHAPE, bool)
    inside[3:, 4:] = True
    red = scene(2).select("R")
    kept = pixels(red.unmask(7).addBands(red.unmask(7).mask().rename("m")), assets, **BEYOND)
    np.testing.assert_array_equal(kept["m"], inside)
    filled = np.where(arrays[2, 0] == 0, 7, arrays[2, 0])[:-3, :-4]
    np.testing.assert_array_equal(kept["R"][3:, 4:], filled)
    grown = pixels(red.unmask(7, False), assets, **BEYOND)["R"]
    np.testing.assert_array_equal(grown[~inside], 7)
    np.testing.assert_array_equal(grown[3:, 4:], filled)


def test_unmask_fills_nothing_outside_of_a_clip(world):
    assets, _ = world
    area = ee.Geometry.Rectangle([500_050, 4_999_850, 500_120, 4_999_930], CRS, False, True)
    got = pixels(scene(3).select("R").clip(area).unmask(5).mask(), assets)["R"]
    oracle = np.zeros(SHAPE)
    oracle[7:15, 5:12] = 1
    np.testing.assert_array_equal(got, oracle)


def test_composites_have_no_edges_to_unmask(world):
    got = pixels(ee.ImageCollection(COLLECTION).median().unmask(7), world[0], **BEYOND)
    np.testing.assert_array_equal(got["R"][:3], 7)


@pytest.mark.parametrize(
    ("value", "dtype"), [(0, "uint16"), (65535, "uint16"), (-9999, "int32"), (0.5, "float64")]
)
def test_a_band_grows_to_hold_what_fills_its_gaps(world, value, dtype):
    assets, arrays = world
    got = pixels(scene(3).select("R").unmask(value), assets)["R"]
    assert got.dtype == dtype
    np.testing.assert_array_equal(
        got, np.where(arrays[3, 0] == 0, value, arrays[3, 0].astype(float))
    )


def test_where_changes_only_what_is_known_and_takes_the_larger_type(world):
    assets, arrays = world
    red, near = scene(2).select("R"), scene(3).select("N")
    got = pixels(red.where(near.gt(500), -1), assets)["R"]
    assert got.dtype == np.int32
    np.testing.assert_array_equal(
        got, np.where((arrays[3, 1] > 500) & (arrays[2, 0] > 0), -1, arrays[2, 0].astype(int))
    )


@pytest.mark.parametrize(
    ("cast", "dtype"),
    [
        ("toInt8", "int8"), ("toUint8", "uint8"), ("toByte", "uint8"), ("toInt16", "int16"),
        ("toUint16", "uint16"), ("toInt32", "int32"), ("toUint32", "uint32"),
    ],
)  # fmt: skip
def test_casts_to_integers_cut_fractions_and_stop_at_the_limits(world, cast, dtype):
    values = [-1e12, -300.7, -2.7, -0.5, 0.5, 2.7, 200.9, 300.7, 1e12]
    got = pixels(getattr(ee.Image.constant(values), cast)(), world[0], shape=(1, 1))[0, 0]
    limits = np.iinfo(dtype)
    assert list(got) == [min(max(int(v), limits.min), limits.max) for v in values]
    assert {got.dtype[n] for n in range(len(values))} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("operation", "oracle"),
    [
        ("add", np.add), ("subtract", np.subtract), ("multiply", np.multiply),
        ("max", np.maximum), ("min", np.minimum), ("gt", np.greater), ("gte", np.greater_equal),
        ("lt", np.less), ("lte", np.less_equal), ("eq", np.equal), ("neq", np.not_equal),
        ("divide", np.divide),
    ],
)  # fmt: skip
def test_arithmetic_is_numpys_where_both_images_have_a_datum(world, operation, oracle):
    assets, arrays = world
    image = getattr(scene(1).select("R"), operation)(scene(3).select("N"))
    got = pixels(image.addBands(image.mask().rename("m")), assets)
    known = (arrays[1, 0] > 0) & (arrays[3, 1] > 0)
    np.testing.assert_array_equal(got["m"], known)
    one, other = arrays[1, 0].astype(float)[known], arrays[3, 1].astype(float)[known]
    np.testing.assert_allclose(got["R"][known], oracle(one, other), rtol=1e-15)


@pytest.mark.parametrize("operation", ["divide", "mod"])
def test_a_division_by_zero_gives_zero(world, operation):
    zeros = getattr(ee.Image.constant([3, 0, 0.5]), operation)(0)
    assert list(pixels(zeros, world[0], shape=(1, 1))[0, 0]) == [0, 0, 0]


def test_a_remainder_has_the_sign_of_the_dividend(world):
    got = pixels(ee.Image.constant([7, -7, 7.5]).mod(ee.Image.constant([3, 3, -2])), world[0])[0, 0]
    assert list(got) == [1, -1, 1.5]


def test_a_stretch_needs_room_and_bands_to_draw(world):
    for wrong in ({"min": 5, "max": 5}, {"bands": ["R", "N"]}):
        with pytest.raises(EarthEngineError, match=r"Image\.visualize"):
            asked(scene().visualize(**wrong), world[0])


def test_bands_pair_by_name_where_the_names_agree_and_else_in_order(world):
    assets, arrays = world
    swapped = pixels(scene(0).subtract(scene(1).select(["N", "R"])), assets)
    renamed = pixels(scene(0).subtract(scene(1).select(["N", "R"], ["a", "b"])), assets)
    first, second = arrays[0].astype(int), arrays[1].astype(int)
    known = second[0] > 0
    np.testing.assert_array_equal(swapped["R"][known], (first[0] - second[0])[known])
    np.testing.assert_array_equal(renamed["R"][known], (first[0] - second[1])[known])
    with pytest.raises(EarthEngineError, match="do not pair"):
        asked(scene().add(ee.Image.constant([1, 2, 3])), assets)


def test_arithmetic_forgets_what_an_image_said_and_casts_do_not(world):
    assets, _ = world
    assert told(scene(1).get("cloud"), assets) == 10
    assert told(scene(1).toFloat().get("cloud"), assets) == 10
    assert told(scene(1).add(1).get("cloud"), assets) is None
    assert told(scene(1).add(1).copyProperties(scene(1)).get("cloud"), assets) == 10


def test_bands_are_selected_by_name_number_and_pattern(world):
    assets, _ = world
    image = ee.Image.constant([1, 2, 3]).rename(["B1", "B2", "QA"])
    assert told(image.select("B.").bandNames(), assets) == ["B1", "B2"]
    assert told(image.select([2, "B1"]).bandNames(), assets) == ["QA", "B1"]
    assert told(image.select(["B2", "QA"], ["x", "y"]).bandNames(), assets) == ["x", "y"]
    assert told(image.select(["B1", "B1", 0]).bandNames(), assets) == ["B1", "B1_1", "B1_2"]
    for selector in (3, "(", "C.*"):
        with pytest.raises(EarthEngineError, match=r"Image\.select"):
            asked(image.select([selector]), assets)
    with pytest.raises(EarthEngineError, match="as many names"):
        asked(image.select(["B1", "B2"], ["x"]), assets)


def test_bands_of_several_images_come_together_and_doubles_get_numbers(world):
    assets, arrays = world
    together = ee.Image.cat([scene(0), scene(1), scene(2)])
    assert told(together.bandNames(), assets) == ["R", "N", "R_1", "N_1", "R_2", "N_2"]
    np.testing.assert_array_equal(pixels(together, assets)["N_2"], arrays[2, 1])


def test_a_reducer_over_bands_keeps_the_dtype_of_what_it_picks(world):
    assets, arrays = world
    for reducer, oracle in {"min": np.min, "max": np.max, "mean": np.mean}.items():
        got = pixels(scene(0).reduce(getattr(ee.Reducer, reducer)()), assets)[reducer]
        np.testing.assert_array_equal(got, oracle(arrays[0], axis=0))
        assert got.dtype == (np.float64 if reducer == "mean" else np.uint16)


def test_a_remap_says_when_its_lists_do_not_fit(world):
    lists = {"from": [1, 2], "to": [3]}
    constant = ee.serializer.encode(scene(), for_cloud_api=True)
    arguments = {n: {"constantValue": v} for n, v in lists.items()}
    arguments["image"] = {"valueReference": "image"}
    values = {
        "image": constant["values"][constant["result"]],
        "0": {"functionInvocationValue": {"functionName": "Image.remap", "arguments": arguments}},
    }
    with pytest.raises(EarthEngineError, match="same length"):
        evaluate({"result": "0", "values": {**constant["values"], **values}}, world[0])


def test_bilinear_is_scipys_linear_interpolation_of_a_shifted_lattice(world):
    assets, arrays = world
    col, row = 3.3, 6.75  # in pixels of the scene
    shifted = GRID @ Affine.translation(col, row)
    got = pixels(
        scene().select("R").toDouble().resample("bilinear").reproject(CRS, list(shifted)[:6]),
        assets, shape=(10, 12), transform=shifted,
    )["R"]  # fmt: skip
    y, x = np.mgrid[:10, :12]
    oracle = map_coordinates(arrays[0, 0].astype(float), [y + row, x + col], order=1)
    np.testing.assert_allclose(got, oracle, rtol=1e-9)


@pytest.mark.parametrize(
    "transform", [GRID, Affine(4.777314267823516, 0, 500_003.1, 0, -4.777314267823516, 4_999_990)]
)
def test_the_rectangle_of_a_projections_pixels_is_exact(world, transform):
    assets, _ = world
    image = scene().reproject(CRS, list(transform)[:6])
    area = ee.Geometry.Rectangle([0, 0, 17, 11], image.projection(), False)
    cut = image.clipToBoundsAndScale(geometry=area, width=17, height=11)
    for band in asked(cut, assets).bands:
        assert band.shape == (11, 17)
        assert band.projection.transform == transform
    same = {"shape": (11, 17), "transform": transform}
    got = pixels(cut, assets, **same)["R"]
    assert got.all()
    np.testing.assert_array_equal(got, pixels(image, assets, **same)["R"])


def test_a_picture_is_cut_to_bounds_whatever_the_outline(world):
    assets, arrays = world
    diamond = ee.Geometry.Polygon(
        [[500_100, 4_999_900], [500_150, 4_999_950], [500_200, 4_999_900], [500_150, 4_999_850]],
        CRS, False,
    )  # fmt: skip
    cut = scene().clipToBoundsAndScale(geometry=diamond, width=10, height=10)
    where = GRID @ Affine.translation(10, 5)
    got = pixels(cut, assets, shape=(10, 10), transform=where)["R"]
    np.testing.assert_array_equal(got, arrays[0, 0, 5:15, 10:20])


def test_a_scale_is_in_metres_in_degrees_too(world):
    assets, _ = world
    transform = told(scene().reproject("EPSG:4326", None, 30).projection(), assets)["transform"]
    assert transform[0] == pytest.approx(30 / (2 * np.pi * 6_378_137 / 360))
    assert told(scene().reproject(CRS, None, 30).projection(), assets)["transform"] == [
        30, 0, 0, 0, -30, 0,
    ]  # fmt: skip


def test_a_function_gets_its_arguments_by_name_in_whatever_order(world):
    def reference(name):
        return {"argumentReference": name}

    difference = {
        "functionName": "Image.subtract",
        "arguments": {"image1": reference("b"), "image2": reference("a")},
    }
    expression = {
        "result": "0",
        "values": {
            "0": {
                "functionInvocationValue": {
                    "functionReference": "1",
                    "arguments": {"a": {"constantValue": 1}, "b": {"constantValue": 5}},
                }
            },
            "1": {"functionDefinitionValue": {"argumentNames": ["b", "a"], "body": "2"}},
            "2": {"functionInvocationValue": difference},
        },
    }
    [(data, _)] = evaluate(expression, world[0]).all(_one_pixel())
    assert data == [[4]]


def _one_pixel():
    from odc.geo.geobox import GeoBox

    return GeoBox((1, 1), GRID, CRS)


def test_edges_follow_an_image_to_another_lattice(world):
    assets, _ = world
    coarse = GRID @ Affine.translation(-3, -6) @ Affine.scale(3)
    red = scene().select("R").reproject(CRS, list(coarse)[:6])
    got = pixels(
        red.unmask(0).mask(), assets, shape=(36, 39), transform=GRID @ Affine.translation(-3, -6)
    )
    oracle = np.zeros((36, 39))
    oracle[6:30, 3:33] = 1
    np.testing.assert_array_equal(got["R"], oracle)
