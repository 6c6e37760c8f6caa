"""Side by side, the tests of a file run in one process: what they share is made once."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_tests_are_sent_to_processes_by_their_group(request: pytest.FixtureRequest) -> None:
    # A pytest that pytest-xdist does not know would drop the group in silence.
    assert request.node.nodeid.endswith("@geo_assets_tests/test_conftest.py")
