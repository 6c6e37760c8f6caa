"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real imagery and labels; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("GEO_ASSETS_TEST_DATA", REPOSITORY / "../shared/data")).resolve()
    if not (folder / "SOURCES.md").is_file():
        pytest.skip(f"no real data: set GEO_ASSETS_TEST_DATA to its folder ({folder} is absent)")
    return folder
