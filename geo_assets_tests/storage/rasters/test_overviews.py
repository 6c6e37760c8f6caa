"""Overviews take the pixels that GDAL takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling

from geo_assets.storage.rasters.cog import write_cog
from geo_assets_tests.storage.rasters.raster_testing import composite, grid, overviews_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("shape", [(513, 700), (1025, 1026), (2048, 1537), (1999, 3)])
def test_pixels_taken_for_overviews_are_those_that_gdal_takes(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    data, valid = composite(*shape)
    write_cog(tmp_path / "a.tif", data, grid(*shape), valid=valid, overviews="nearest")
    with rasterio.open(tmp_path / "a.tif") as ours:
        factors = ours.overviews(1)
        profile = ours.profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(tmp_path / "b.tif", "w", **profile) as theirs:
            theirs.write(data)
            theirs.write_mask(valid)
        with rasterio.open(tmp_path / "b.tif", "r+") as theirs:
            theirs.build_overviews(
                [2**level for level in range(1, len(factors) + 1)], Resampling.nearest
            )
    for level in range(len(factors)):
        pixels, mask = overviews_of(tmp_path / "a.tif", level)
        np.testing.assert_array_equal(pixels, overviews_of(tmp_path / "b.tif", level)[0])
        # What is valid was not 0, what is not was: the mask belongs to the pixel that was taken.
        assert not pixels[:2, ~mask].any()
        assert pixels[:2, mask].all()
