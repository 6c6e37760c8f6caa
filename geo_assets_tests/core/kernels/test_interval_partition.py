from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.kernels.interval_partition import best_intervals, interval_cost

LARGEST = 2**33 // 6 - 1


def prefix_sums(values, counts):
    sums = np.zeros((3, len(values) + 1), np.int64)
    for power in range(3):
        sums[power, 1:] = np.cumsum([c * v**power for v, c in zip(values, counts, strict=True)])
    return sums


@given(
    values=st.lists(st.integers(-32767, 32767), min_size=1, max_size=6, unique=True).map(sorted),
    data=st.data(),
)
@settings(deadline=None)
def test_the_cost_of_an_interval_is_exact_up_to_a_fraction(values, data):
    counts = [data.draw(st.integers(1, LARGEST)) for _ in values]
    whole, part = interval_cost(prefix_sums(values, counts), 0, len(values))
    total = sum(counts)
    first = sum(c * v for v, c in zip(values, counts, strict=True))
    second = sum(c * v * v for v, c in zip(values, counts, strict=True))
    exact = second - Fraction(first**2, total)
    assert -1 < part <= 0
    assert abs(whole + Fraction(part) - exact) < Fraction(1, 10**15)


def test_of_equally_good_cuts_the_earliest_is_taken():
    sums = prefix_sums([-1, 0, 1], [3, 3, 3])
    assert best_intervals(sums, 2).tolist() == [0, 1, 3]
    sums = prefix_sums(list(range(6)), [1] * 6)
    assert best_intervals(sums, 4).tolist() == [0, 1, 2, 4, 6]


def test_as_many_intervals_as_values_hold_one_each():
    sums = prefix_sums([-9, 4, 5, 30], [7, 1, 10**6, 2])
    assert best_intervals(sums, 4).tolist() == [0, 1, 2, 3, 4]
