import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.compositing import reduce_stack
from geo_assets.core.reducers import Percentile
from geo_assets.errors import GeoAssetsError
from geo_assets_tests.core.test_compositing import stack


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32])
@given(
    seed=st.integers(0, 2**32 - 1),
    times=st.integers(1, 13),
    share=st.sampled_from([0.3, 0.7, 1.0]),
    percent=st.one_of(st.sampled_from([0.0, 10.0, 25.0, 50.0, 90.0, 100.0]), st.floats(0, 100)),
)
@settings(max_examples=25, deadline=None)
def test_a_percentile_is_numpys_rounded_half_to_even(dtype, seed, times, share, percent):
    data, valid = stack(dtype, times, share, seed, shape=(2, 4, 3))
    image, seen = reduce_stack(data, valid, Percentile(percent))
    assert image.dtype == dtype
    for row, col in np.argwhere(seen):
        known = data[valid[:, row, col], :, row, col].astype(np.float64)
        wanted = np.percentile(known, percent, axis=0)
        if np.dtype(dtype).kind != "f":
            wanted = np.rint(wanted)
        np.testing.assert_array_equal(image[:, row, col], wanted.astype(dtype))


def test_percentile_50_is_the_median():
    data, valid = stack(np.uint16, times=12)
    for dtype in (None, "float32"):
        image, seen = reduce_stack(data, valid, Percentile(50.0), dtype)
        np.testing.assert_array_equal(
            image[:, seen], reduce_stack(data, valid, dtype=dtype)[0][:, seen]
        )


@pytest.mark.parametrize("percent", [-0.1, 100.5, float("nan")])
def test_a_percentile_beyond_the_ends_is_refused(percent):
    with pytest.raises(GeoAssetsError, match=r"percentile: .*; allowed: 0 to 100"):
        Percentile(percent)
