"""The stretch, against numpy's percentiles on real and made scenes."""

from __future__ import annotations

import numpy as np
import pytest

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.palette import NO_DATA, rgb_of
from geo_assets.previews.rgb import percentile_limits, shown, stretch


@pytest.mark.real_data
def test_limits_equal_numpys_percentiles_on_a_real_scene(real_data):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(real_data / "s2_aberystwyth" / "s2_aber_20210527_10band.tif") as source:
        data = source.read([3, 2, 1], window=((0, 300), (0, 400)))
    valid = np.random.default_rng(0).random(data.shape[1:]) > 0.3
    expected = [np.percentile(band[valid].astype(np.float64), [0.5, 99.5]) for band in data]

    np.testing.assert_array_equal(percentile_limits(data, valid), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_values_between_the_limits_are_mapped_linearly(dtype):
    data = np.linspace(0, 200, 25).reshape(1, 5, 5).astype(dtype)
    grey = stretch(data, limits=np.array([[0.0, 200.0]]))

    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey[..., 0], np.rint(data[0].astype(np.float64) / 200 * 255))
    assert (grey == grey[..., :1]).all()


def test_gamma_brightens_the_middle_and_leaves_the_ends():
    data = np.array([[[0.0, 0.25, 1.0]]])
    plain = stretch(data, limits=np.array([[0.0, 1.0]]))[0, :, 0]
    bright = stretch(data, limits=np.array([[0.0, 1.0]]), gamma=2.0)[0, :, 0]

    assert plain.tolist() == [0, 64, 255]
    assert bright.tolist() == [0, 128, 255]


def test_no_data_is_grey_and_moves_no_limit():
    data = np.full((3, 10, 10), 100, np.uint16)
    data[:, :, 5:] = 200
    data[:, 0] = 60000
    valid = np.ones((10, 10), bool)
    valid[0] = False
    photograph = stretch(data, valid)

    assert percentile_limits(data, valid).max() == 200
    assert (photograph[0] == rgb_of(NO_DATA)).all()
    assert photograph[5, 0].tolist() == [0, 0, 0]
    assert photograph[5, 9].tolist() == [255, 255, 255]


def test_nan_is_no_data_without_a_mask():
    data = np.ones((1, 4, 4), np.float32)
    data[0, 0, 0] = np.nan

    assert tuple(stretch(data)[0, 0]) == rgb_of(NO_DATA)


def test_a_scene_of_one_value_is_neither_black_nor_white():
    assert (stretch(np.full((3, 4, 4), 7, np.uint8)) == 128).all()


def test_a_scene_without_a_datum_is_all_no_data():
    photograph = stretch(np.zeros((3, 4, 4), np.uint16), np.zeros((4, 4), bool))

    assert (photograph == rgb_of(NO_DATA)).all()


def test_two_bands_are_no_photograph():
    with pytest.raises(GeoAssetsError, match="2 bands: 1 or 3"):
        stretch(np.zeros((2, 4, 4)))


def test_a_shrunken_scene_keeps_the_limits_of_the_whole():
    data = np.zeros((1, 100, 100))
    data[0, ::2] = 1.0
    photograph, known = shown(data, None, (50, 50), gamma=1.0)

    assert known.all()
    assert (photograph == 128).all()
