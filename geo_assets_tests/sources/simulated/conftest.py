"""A small archive, written once a session; the demo's own is a fixture of all tests."""

from __future__ import annotations

import pytest

from geo_assets.sources.simulated import ArchiveSpec, write_archive

SMALL = ArchiveSpec(seed=3, tile_size=240)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "archive"
    write_archive(folder, SMALL)
    return folder
