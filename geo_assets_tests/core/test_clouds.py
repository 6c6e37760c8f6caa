import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from geo_assets.core.clouds import DEFAULT_EXCLUDED_SCL, clear_mask
from geo_assets.errors import GeoAssetsError


def disk(radius):
    rows, cols = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return rows**2 + cols**2 <= radius**2


def test_the_default_excludes_what_the_design_lists_and_keeps_water_soil_and_vegetation():
    scl = np.arange(12, dtype=np.uint8).reshape(1, 12)
    clear = clear_mask(scl)
    assert set(scl[~clear].tolist()) == {0, 1, 3, 8, 9, 10} == set(DEFAULT_EXCLUDED_SCL)


@given(
    seed=st.integers(0, 2**32 - 1),
    radius=st.integers(0, 6),
    share=st.sampled_from([0.0, 0.02, 0.2, 1.0]),
)
@settings(deadline=None)
def test_clouds_grow_by_a_disk(seed, radius, share):
    rng = np.random.default_rng(seed)
    cloud = rng.random((17, 23)) < share
    scl = np.where(cloud, 9, 4).astype(np.uint8)
    expected = ~binary_dilation(cloud, disk(radius))
    np.testing.assert_array_equal(clear_mask(scl, dilate_pixels=radius), expected)


def test_pixels_that_were_not_observed_are_not_clear_and_do_not_grow():
    scl = np.full((9, 9), 4, np.uint8)
    scl[:, 0] = 0
    clear = clear_mask(scl, dilate_pixels=3)
    assert not clear[:, 0].any()
    assert clear[:, 1:].all()


def test_a_window_with_a_margin_as_wide_as_the_radius_is_clear_where_the_whole_is():
    rng = np.random.default_rng(3)
    scl = np.where(rng.random((60, 60)) < 0.01, 8, 5).astype(np.uint8)
    whole = clear_mask(scl, dilate_pixels=5)
    window = clear_mask(scl[15:45, 15:45], dilate_pixels=5)
    np.testing.assert_array_equal(window[5:-5, 5:-5], whole[20:40, 20:40])


def test_a_negative_radius_is_refused_by_name():
    with pytest.raises(GeoAssetsError, match=r"dilate_pixels: -1 .* 0 or more"):
        clear_mask(np.zeros((2, 2), np.uint8), dilate_pixels=-1)
