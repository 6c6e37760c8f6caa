"""NDVI pictures: the right colour at the right place, grey where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.cubes import as_days, ndvi_map, ndvi_strip, valid_share
from geo_assets.previews.palette import NO_DATA, paint_ndvi, rgb_of
from geo_assets.previews.style import MARGIN, Sheet


@pytest.fixture(scope="module")
def slovenia(real_data):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(real_data / "slovenia_eopatch" / "ndvi_68dates_cloudmasked.tif") as source:
        stored = source.read()
    return np.where(stored == -32768, np.nan, stored / np.float32(10_000))


def test_pixels_of_the_map_have_the_colours_of_their_values(opened):
    ndvi = np.full((10, 10), 0.8)
    ndvi[:5, :5] = np.nan
    ndvi[5:, :5] = -0.1
    pixels = opened(ndvi_map(ndvi))
    top = Sheet.top("NDVI")

    # 10 cells fit 33 times into 330 pixels.
    assert tuple(pixels[top, MARGIN]) == rgb_of(NO_DATA)
    assert tuple(pixels[top + 329, MARGIN]) == tuple(paint_ndvi(np.array(-0.1)))
    assert tuple(pixels[top, MARGIN + 329]) == tuple(paint_ndvi(np.array(0.8)))


@pytest.mark.real_data
def test_real_cubes_stay_below_the_bound(slovenia, aberystwyth, opened):
    dates = np.datetime64("2015-07-11") + np.arange(len(slovenia)) * 13
    red, nir = aberystwyth[0][[2, 6]].astype(np.float32)

    opened(ndvi_map((nir - red) / (nir + red)))
    opened(ndvi_strip(slovenia, dates))
    opened(valid_share(np.isfinite(slovenia).mean(axis=(1, 2)), dates))


@pytest.mark.parametrize("count", [1, 2, 5, 12, 40])
def test_strips_of_any_length_are_drawn(count, opened):
    cube = np.random.default_rng(0).uniform(-1, 1, (count, 50, 60)).astype(np.float32)
    cube[0] = np.nan
    dates = np.datetime64("2024-01-01") + np.arange(count)

    opened(ndvi_strip(cube, dates))
    opened(valid_share(np.isfinite(cube).mean(axis=(1, 2)), dates))


def test_nothing_known_is_a_calm_picture(opened):
    assert opened(ndvi_map(np.full((5, 5), np.nan))).shape[0] < 200
    assert opened(ndvi_strip(np.zeros((0, 5, 5)), [])).shape[0] < 200
    assert opened(valid_share([], [])).shape[0] < 200


def test_values_beyond_the_range_are_drawn_as_its_ends(opened):
    opened(ndvi_map(np.array([[-1.0, 1.0], [0.0, 0.5]])))


def test_dates_of_every_kind_are_days():
    expected = np.datetime64("2024-03-01", "D")
    stamp = np.datetime64("2024-03-01T10:20:30.123456789")

    assert (as_days(["2024-03-01", stamp, expected, "2024-03-01T10:00:00Z"]) == expected).all()


def test_what_does_not_fit_together_is_named():
    with pytest.raises(GeoAssetsError, match="1 dates for 2 time steps"):
        ndvi_strip(np.zeros((2, 3, 3)), ["2024-01-01"])
    with pytest.raises(GeoAssetsError, match="2 shares for 1 dates"):
        valid_share([0.5, 1.0], ["2024-01-01"])
    with pytest.raises(GeoAssetsError, match=r"\(1, 3, 3\)"):
        ndvi_map(np.zeros((1, 3, 3)))
    with pytest.raises(GeoAssetsError, match="YYYY-MM-DD"):
        as_days(["yesterday"])


def test_the_same_cube_gives_the_same_bytes():
    cube = np.random.default_rng(0).uniform(-0.2, 1, (3, 40, 40))
    dates = ["2024-01-01", "2024-02-01", "2024-03-01"]

    assert ndvi_strip(cube, dates) == ndvi_strip(cube, dates)
    assert ndvi_map(cube[0]) == ndvi_map(cube[0])
