"""Rasters made block by block, in memory or on the disk, are the same file."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_AppDefinedError
from rio_cogeo import cog_validate

from geo_assets.errors import StorageError
from geo_assets.storage.rasters import cog_blocks
from geo_assets.storage.rasters.cog import (
    write_cog,
    write_cog_of_blocks,
)
from geo_assets.storage.rasters.overviews import Plain
from geo_assets_tests.storage.rasters.raster_testing import composite, grid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("shape", [(300, 200), (1100, 1030), (513, 2049)])
@pytest.mark.parametrize("rule", ["nearest", "average"])
def test_a_raster_made_of_blocks_on_the_disk_is_the_one_made_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], rule: str
) -> None:
    data, valid = composite(*shape)
    names, geobox = ["red", "nir", "label"], grid(*shape)
    write_cog(tmp_path / "a.tif", data, geobox, valid=valid, band_names=names, overviews=rule)
    monkeypatch.setattr(cog_blocks, "MEMORY_BYTES", 0)
    blocks = [
        (rows, cols, data[:, rows, cols], valid[rows, cols])
        for rows in (slice(0, 200), slice(200, shape[0]))
        for cols in (slice(0, 77), slice(77, shape[1]))
    ]
    plain = Plain(geobox, 3, data.dtype, masked=True, nodata=None)
    write_cog_of_blocks(tmp_path / "b.tif", blocks, plain, band_names=names, overviews=rule)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert cog_validate(tmp_path / "b.tif", strict=True) == (True, [], [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_what_gdal_says_of_itself_names_the_file(tmp_path, monkeypatch):
    def refused(*_args, **_options):
        raise CPLE_AppDefinedError(1, 1, "TIFFRewriteDirectory:Error fetching directory count")

    monkeypatch.setattr(rasterio.shutil, "copy", refused)
    grid = GeoBox((64, 64), Affine(10, 0, 5e5, 0, -10, 9e6), "EPSG:32737")
    said = r"a\.tif: cannot be written: TIFFRewriteDirectory.* \([\d,]+ MiB free on its disk\)"
    with pytest.raises(StorageError, match=said):
        write_cog(tmp_path / "a.tif", np.ones((1, 64, 64), np.uint8), grid)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_where_a_raster_is_made_on_it(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from geo_assets.storage.rasters import cog_blocks
from geo_assets.storage.rasters.cog import write_cog
grid = GeoBox((1400, 1300), Affine(10, 0, 5e5, 0, -10, 9e6), "EPSG:32737")
noise = np.random.default_rng(0).integers(0, 60000, (2, 1400, 1300), dtype=np.uint16)
cog_blocks.MEMORY_BYTES = 0
for limit in (50_000, 2_000_000, 7_500_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    try:
        write_cog(Path(sys.argv[1]) / "a.tif", noise, grid)
    except Exception as error:
        print(type(error).__name__, str(error).partition("\\n")[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    said = f"StorageError {tmp_path / 'a.tif'}: "
    assert [line.startswith(said) for line in done.stdout.splitlines()] == [True] * 3
    assert list(tmp_path.iterdir()) == []
