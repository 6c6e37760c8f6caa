import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.fusion import DayFusion, fuse_solar_days
from geo_assets.errors import GeoAssetsError

DAYS = np.array(["2021-05-03", "2021-05-01", "2021-05-03", "2021-05-02"], "datetime64[D]")


def fused_pixel_by_pixel(data, valid, days):
    """The rule as its definition reads: one pixel at a time."""
    unique = np.unique(days)
    fill = {"u": 0, "i": np.iinfo(np.int16).min, "f": np.nan}[data.dtype.kind]
    fused = np.full((len(unique), *data.shape[1:]), fill, data.dtype)
    known = np.zeros((len(unique), *valid.shape[1:]), bool)
    for number, day in enumerate(unique):
        for row, col in np.ndindex(*valid.shape[1:]):
            scenes = [s for s in range(len(days)) if days[s] == day and valid[s, row, col]]
            if scenes:
                fused[number, :, row, col] = data[scenes[0], :, row, col]
                known[number, row, col] = True
    return fused, known, unique


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
@given(seed=st.integers(0, 2**32 - 1), scenes=st.integers(1, 6))
@settings(deadline=None)
def test_the_first_valid_scene_of_a_day_wins_in_every_pixel(dtype, seed, scenes):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 9, (scenes, 2, 3, 4)).astype(dtype)
    valid = rng.random((scenes, 3, 4)) < 0.5
    days = rng.choice(DAYS, scenes)
    expected = fused_pixel_by_pixel(data, valid, days)
    for got, wanted in zip(fuse_solar_days(data, valid, days), expected, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_a_pixel_takes_all_bands_from_one_scene():
    data = np.array([[[[1]], [[2]]], [[[3]], [[4]]]], np.uint16)
    valid = np.array([[[False]], [[True]]])
    fused, _, _ = fuse_solar_days(data, valid, DAYS[[0, 2]])
    assert fused.ravel().tolist() == [3, 4]


def test_inputs_are_not_changed_and_not_kept():
    data = np.full((1, 1, 2, 2), 7, np.uint16)
    valid = np.ones((1, 2, 2), bool)
    fusion = DayFusion(DAYS)
    fusion.add(data[0], valid[0], DAYS[0])
    data[:] = 9
    fused, _, _ = fusion.result()
    assert (fused == 7).all()
    assert valid.all()


def test_no_scene_gives_no_day():
    data, valid, days = fuse_solar_days(
        np.zeros((0, 3, 4, 5), np.uint16), np.zeros((0, 4, 5), bool), DAYS[:0]
    )
    assert data.shape == (0, 3, 4, 5)
    assert valid.shape == (0, 4, 5)
    assert days.dtype == np.dtype("datetime64[D]")


def test_scenes_of_unequal_shape_are_refused_by_their_day():
    fusion = DayFusion(DAYS)
    fusion.add(np.zeros((1, 2, 2), np.uint16), np.ones((2, 2), bool), DAYS[0])
    with pytest.raises(GeoAssetsError, match=r"scene of 2021-05-01: data \(1, 2, 3\)"):
        fusion.add(np.zeros((1, 2, 3), np.uint16), np.ones((2, 3), bool), DAYS[1])


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


def test_lengths_that_differ_are_refused():
    with pytest.raises(GeoAssetsError, match="2 of data, 2 of valid, 4 of days"):
        fuse_solar_days(np.zeros((2, 1, 1, 1), np.uint16), np.ones((2, 1, 1), bool), DAYS)


def test_fusing_nothing_has_no_shape():
    with pytest.raises(GeoAssetsError, match="no scene"):
        DayFusion(DAYS).result()
