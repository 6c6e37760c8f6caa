"""An area followed block by block is the area followed at once."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.core.label_changes import change_map, count_changes
from geo_assets.core.workers import Threads
from geo_assets.products.labels.days import FollowedArea, LabelDates
from geo_assets.storage.rasters.cog import write_cog

GRID = GeoBox((700, 1100), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")


@pytest.fixture(scope="module")
def labels():
    """Labels (date, y, x) of which a corner drops for good."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, (5, *GRID.shape)).astype(np.uint8)
    labels[:2, :90, -90:], labels[2:, :90, -90:] = 3, 1
    return labels


@pytest.mark.parametrize("step", [1, 7, 512, 600])
def test_blocks_give_the_map_and_the_counts_of_the_whole(tmp_path, labels, step):
    paths = tuple(tmp_path / f"2021-06-0{number + 1}.tif" for number in range(len(labels)))
    for path, day in zip(paths, labels, strict=True):
        write_cog(path, day[np.newaxis], GRID, nodata=0)
    area = FollowedArea(LabelDates(paths, None, 3, 0), GRID, step)
    bands, valid = np.zeros((4, *GRID.shape), np.uint16), np.zeros(GRID.shape, bool)
    for rows, cols, block, known in area.blocks(Threads(2)):
        bands[:, rows, cols], valid[rows, cols] = block, known
    wanted, wanted_valid = change_map(labels)
    np.testing.assert_array_equal(bands, wanted)
    np.testing.assert_array_equal(valid, wanted_valid)
    np.testing.assert_array_equal(area.shown[0], wanted[1, ::step, ::step])
    np.testing.assert_array_equal(area.shown[1], wanted_valid[::step, ::step])
    assert area.dropped == np.count_nonzero(wanted[1]) >= 90 * 90
    assert area.followed == np.count_nonzero(wanted_valid)
    counts = count_changes(labels, np.zeros(GRID.shape, np.uint8), 3, 0)
    np.testing.assert_array_equal(area.counts.successive, counts.successive)
    np.testing.assert_array_equal(area.counts.areas, counts.areas)
