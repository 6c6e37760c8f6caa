"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from geo_assets.sources.simulated import write_archive

REPOSITORY = Path(__file__).resolve().parents[1]
ACCEPTANCE = Path(__file__).with_name("acceptance")
LONG_RUNS = {"demo", "fields", "aberystwyth", "aberystwyth_splits"}
"""Fixtures there that each process would make anew, a minute each."""


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="run the acceptance lists with their full counts: 30 kills instead of 8, and so on",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep the tests of a file in one process, and those of files that look at one long run."""
    shared = {
        item.path
        for item in items
        if item.path.parent == ACCEPTANCE and LONG_RUNS & set(item.fixturenames)
    }
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            group = "long runs" if item.path in shared else item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def full(pytestconfig) -> bool:
    """Whether the acceptance lists are run with their full counts."""
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """The simulated archive that the demo reads, as it is first written; never change its files."""
    folder = tmp_path_factory.mktemp("default") / "archive"
    write_archive(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real imagery and labels; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("GEO_ASSETS_TEST_DATA", REPOSITORY / "../shared/data")).resolve()
    if not (folder / "SOURCES.md").is_file():
        pytest.skip(f"no real data: set GEO_ASSETS_TEST_DATA to its folder ({folder} is absent)")
    return folder
