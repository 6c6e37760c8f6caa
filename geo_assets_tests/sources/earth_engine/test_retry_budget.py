"""Retries stay within the floor and the share of first requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from geo_assets.sources.earth_engine.retry_budget import RetryBudget


@given(
    share=st.floats(0, 2),
    floor=st.integers(0, 20),
    events=st.lists(st.booleans(), max_size=200),
)
def test_retries_never_exceed_the_floor_and_their_share(share, floor, events):
    budget = RetryBudget(share=share, floor=floor)
    first = spent = 0
    for is_first in events:
        if is_first:
            budget.earn()
            first += 1
        else:
            granted = budget.spend()
            assert granted == (spent + 1 <= floor + share * first)
            spent += granted


def test_threads_together_spend_no_more_than_there_is():
    budget = RetryBudget(share=0.5, floor=10)
    for _ in range(100):
        budget.earn()
    with ThreadPoolExecutor(8) as threads:
        granted = sum(threads.map(lambda _: budget.spend(), range(500)))
    assert granted == 60
