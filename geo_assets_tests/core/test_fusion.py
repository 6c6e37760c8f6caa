import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.fusion import DayFusion, DtypesDifferError
from geo_assets.errors import GeoAssetsError

DAYS = np.array(["2021-05-03", "2021-05-01", "2021-05-03", "2021-05-02"], "datetime64[D]")


def fused(data, valid, days):
    fusion = DayFusion(days)
    for scene, mask, day in zip(data, valid, days, strict=True):
        fusion.add(scene.copy(), mask.copy(), day)
    return fusion.result()


def fused_pixel_by_pixel(data, valid, days):
    """The rule as its definition reads: one pixel at a time."""
    unique = np.unique(days)
    fill = {"u": 0, "i": np.iinfo(np.int16).min, "f": np.nan}[data.dtype.kind]
    expected = np.full((len(unique), *data.shape[1:]), fill, data.dtype)
    known = np.zeros((len(unique), *valid.shape[1:]), bool)
    for number, day in enumerate(unique):
        for row, col in np.ndindex(*valid.shape[1:]):
            scenes = [s for s in range(len(days)) if days[s] == day and valid[s, row, col]]
            if scenes:
                expected[number, :, row, col] = data[scenes[0], :, row, col]
                known[number, row, col] = True
    return expected, known, unique


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
@given(seed=st.integers(0, 2**32 - 1), scenes=st.integers(1, 6))
@settings(deadline=None)
def test_the_first_valid_scene_of_a_day_wins_in_every_pixel(dtype, seed, scenes):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 9, (scenes, 2, 3, 4)).astype(dtype)
    valid = rng.random((scenes, 3, 4)) < 0.5
    days = rng.choice(DAYS, scenes)
    expected = fused_pixel_by_pixel(data, valid, days)
    for got, wanted in zip(fused(data, valid, days), expected, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_a_pixel_takes_all_bands_from_one_scene():
    data = np.array([[[[1]], [[2]]], [[[3]], [[4]]]], np.uint16)
    valid = np.array([[[False]], [[True]]])
    pixels, _, _ = fused(data, valid, DAYS[[0, 2]])
    assert pixels.ravel().tolist() == [3, 4]


def test_scenes_of_several_days_are_not_changed():
    data = np.full((1, 2, 2), 7, np.uint16)
    valid = np.array([[True, False], [True, True]])
    fusion = DayFusion(DAYS)
    fusion.add(data, valid, DAYS[0])
    pixels, _, _ = fusion.result()
    assert pixels.ravel().tolist() == [7, 0, 7, 7]
    assert (data == 7).all()


def test_a_scene_that_comes_alone_is_not_copied():
    data = np.full((1, 2, 2), 7, np.uint16)
    fusion = DayFusion(DAYS[:1])
    fusion.add(data, np.array([[True, False], [True, True]]), DAYS[0])
    pixels, _, _ = fusion.result()
    assert pixels.ravel().tolist() == [7, 0, 7, 7]
    assert np.shares_memory(pixels, data)


def test_scenes_of_unequal_shape_are_refused_by_their_day():
    fusion = DayFusion(DAYS)
    fusion.add(np.zeros((1, 2, 2), np.uint16), np.ones((2, 2), bool), DAYS[0])
    with pytest.raises(GeoAssetsError, match=r"scene of 2021-05-01: data \(1, 2, 3\)"):
        fusion.add(np.zeros((1, 2, 3), np.uint16), np.ones((2, 3), bool), DAYS[1])


def test_scenes_of_two_dtypes_are_refused_where_none_is_said_for_both():
    fusion = DayFusion(DAYS)
    fusion.add(np.zeros((1, 2, 2), np.uint16), np.ones((2, 2), bool), DAYS[0])
    with pytest.raises(DtypesDifferError, match="scene of 2021-05-01: data are int16") as raised:
        fusion.add(np.zeros((1, 2, 2), np.int16), np.ones((2, 2), bool), DAYS[1])
    assert (raised.value.one, raised.value.other) == (np.uint16, np.int16)


def test_scenes_of_several_dtypes_are_fused_as_if_they_were_of_the_one_said():
    rng = np.random.default_rng(1)
    valid = rng.random((4, 3, 4)) < 0.5
    data = rng.integers(-9, 9, (4, 2, 3, 4)).astype(np.float32)
    data[[0, 2]] = abs(data[[0, 2]])
    fusion = DayFusion(DAYS, np.float32)
    for dtype, scene, mask, day in zip("HhBf", data, valid, DAYS, strict=True):
        fusion.add(scene.astype(dtype), mask.copy(), day)
    for got, wanted in zip(fusion.result(), fused(data, valid, DAYS), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_a_day_that_was_not_expected_is_refused():
    fusion = DayFusion(DAYS[:1])
    with pytest.raises(GeoAssetsError, match="scene of 2021-05-02: not one of the days"):
        fusion.add(np.zeros((1, 2, 2), np.uint16), np.ones((2, 2), bool), DAYS[3])


def test_days_that_did_not_come_are_left_out():
    fusion = DayFusion(DAYS)
    fusion.add(np.full((1, 1, 2), 3, np.uint16), np.array([[True, False]]), DAYS[3])
    data, valid, days = fusion.result()
    assert (data.tolist(), valid.tolist()) == ([[[[3, 0]]]], [[[True, False]]])
    np.testing.assert_array_equal(days, DAYS[3:])


def test_fusing_nothing_has_no_shape():
    with pytest.raises(GeoAssetsError, match="no scene"):
        DayFusion(DAYS).result()


def test_a_scene_that_was_refused_leaves_nothing_behind():
    fusion = DayFusion(DAYS[:1])
    refused = np.full((1, 2, 2), 5, np.uint16)
    with pytest.raises(GeoAssetsError, match="not one of the days"):
        fusion.add(refused, np.ones((2, 2), bool), DAYS[1])
    fusion.add(np.full((1, 2, 2), 9, np.uint16), np.ones((2, 2), bool), DAYS[0])
    assert (fusion.result()[0] == 9).all()
