import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geo_assets.core.kernels.fours import keep_lower, keep_upper, merge_fours

ROWS = 12
strips = st.sampled_from(["uint8", "int8", "uint16", "int16"]).flatmap(
    lambda dtype: hnp.arrays(dtype, st.tuples(st.just(ROWS), st.integers(1, 70)))
)


def with_sorted_fours(strip, *rows):
    for row in rows:
        strip[row : row + 4].sort(axis=0)
    return strip


@pytest.mark.parametrize("places", [(0, 4), (4, 8), (0, 8)])
@settings(deadline=None)  # the first of a dtype is compiled
@given(strip=strips)
def test_two_sorted_fours_become_a_lower_and_an_upper_one(strip, places):
    low, high = places
    given_ = with_sorted_fours(strip, low, high)
    both = np.sort(np.concatenate([given_[low : low + 4], given_[high : high + 4]]), axis=0)
    for function, lower, upper in (
        (merge_fours, True, True),
        (keep_lower, True, False),
        (keep_upper, False, True),
    ):
        wanted, found = given_.copy(), given_.copy()
        if lower:
            wanted[low : low + 4] = both[:4]
        if upper:
            wanted[high : high + 4] = both[4:]
        function(found, low, high)
        np.testing.assert_array_equal(found, wanted)
