import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.core import strips
from geo_assets.core.strips import map_strips


@given(
    size=st.integers(0, 5000),
    threads=st.integers(1, 9),
    unit=st.sampled_from([1, 7, 256]),
)
def test_strips_cover_everything_once_and_in_order(size, threads, unit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "_WORTH_A_THREAD", 10)
        found = map_strips(lambda *strip: strip, size, threads=threads, unit=unit)
    assert found[0][0] == 0
    assert found[-1][1] == size
    assert len(found) <= threads
    for (_, stop), (start, _) in itertools.pairwise(found):
        assert stop == start
        assert start % unit == 0


def test_a_small_array_is_not_worth_a_thread():
    assert map_strips(lambda *strip: strip, 60_000, threads=8) == [(0, 60_000)]
