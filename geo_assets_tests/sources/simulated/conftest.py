"""Two archives, written once a session: a small one, and the default one that the demo reads."""

from __future__ import annotations

import pytest

from geo_assets.sources.simulated import ArchiveSpec, write_archive

SMALL = ArchiveSpec(seed=3, tile_size=240)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "archive"
    write_archive(folder, SMALL)
    return folder


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("default") / "archive"
    write_archive(folder)
    return folder
