"""The service's limits, at them and one beyond."""

from __future__ import annotations

import pytest

from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.sizes import check_expression, check_request


@pytest.mark.parametrize(
    "request_", [(4096, 4096, 3, 3), (32_768, 1, 1, 1), (1, 1, 1024, 1024), (256, 256, 10, 5)]
)
def test_what_the_service_gives_is_let_pass(request_):
    check_request(*request_)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ((4096, 4097, 3, 3), "allowed are 50,331,648"),
        ((32_769, 1, 1, 1), "allowed are 32,768 a side"),
        ((1, 32_769, 1, 1), "allowed are 32,768 a side"),
        ((1, 1, 1025, 1025), "allowed are 1,024"),
        ((0, 1, 1, 1), "asks for nothing"),
        ((1, 1, 1, 0), "asks for nothing"),
    ],
)
def test_what_the_service_refuses_is_refused_before_asking(request_, why):
    with pytest.raises(SourceError, match=why):
        check_request(*request_)


def test_an_expression_has_at_most_ten_mebibytes():
    check_expression(10_485_760)
    with pytest.raises(SourceError, match="10,485,761 bytes"):
        check_expression(10_485_761)
