"""Rules out of bounds are refused by name."""

from __future__ import annotations

from math import inf, nan

import pytest

from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.policy import RequestPolicy, Timeouts


def test_the_rules_that_nobody_changed_stay_below_the_services_limits():
    policy = RequestPolicy()
    assert policy.concurrency < 40
    assert policy.requests_per_second < 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 41),
        ("concurrency", 0),
        ("concurrency", True),
        ("concurrency", 3.0),
        ("requests_per_second", 100.1),
        ("requests_per_second", 0),
        ("requests_per_second", nan),
        ("attempts", 0),
        ("total_s", inf),
        ("wait_initial_s", -1),
        ("wait_max_s", 0.1),
        ("retry_share", "much"),
        ("breaker_failures", 0),
        ("burst", 0),
    ],
)
def test_a_rule_out_of_bounds_names_its_field_and_value(name, value):
    with pytest.raises(SourceError, match=f"RequestPolicy.{name} is {value!r}; allowed is"):
        RequestPolicy(**{name: value})


@pytest.mark.parametrize("name", ["connect_s", "read_s", "total_s"])
@pytest.mark.parametrize("value", [0, 3601, nan, None])
def test_a_timeout_out_of_bounds_names_its_field(name, value):
    with pytest.raises(SourceError, match=f"Timeouts.{name} is"):
        Timeouts(**{name: value})


def test_no_rate_and_the_bounds_themselves_are_allowed():
    RequestPolicy(requests_per_second=None, concurrency=40)
    RequestPolicy(requests_per_second=100, concurrency=1, wait_initial_s=0, wait_max_s=0)
