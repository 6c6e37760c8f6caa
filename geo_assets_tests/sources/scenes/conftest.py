from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from geo_assets_tests.emulators.file_server import FileServer, serve_files
from geo_assets_tests.sources.scene_testing import GRID, noise, write_raster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    write_raster(tmp_path / "x.tif", noise(GRID, 1), GRID)
    with serve_files(tmp_path) as running:
        yield running
