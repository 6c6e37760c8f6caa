from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

import geo_assets
from geo_assets.core.chips import ChipPixels
from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.chips.catalog import ChipCollection
from geo_assets.storage.chips.expectation import ChipEncoding, Stretch
from geo_assets.storage.chips.paths import ChipPaths
from geo_assets.storage.chips.store import ChipStore
from geo_assets.storage.layout import Layout
from geo_assets_tests.storage.chips.chip_testing import a_spec

if TYPE_CHECKING:
    from pathlib import Path

STRETCH = Stretch((0, 1, 2), (0, 0, 0), (3000, 3000, 3000))


def _store(folder: Path, chip_format: str) -> ChipStore:
    encoding = ChipEncoding(chip_format, ("B02", "B03", "B04", "label"), "uint16", stretch=STRETCH)
    return ChipStore(
        ChipPaths.of(Layout(folder, "c"), "north", "train"), encoding, ChipCollection("c", "d")
    )


def _pixels(spec) -> ChipPixels:
    rng = np.random.default_rng(len(spec.chip_id))
    data = rng.integers(1, 3000, (4, *spec.geobox.shape)).astype(np.uint16)
    return ChipPixels(data, np.ones(spec.geobox.shape.yx, bool))


@pytest.mark.parametrize("chip_format", ["tif", "npy", "zip"])
def test_a_chip_opens_with_the_pixels_and_the_grid_it_was_written_with(tmp_path, chip_format):
    spec = a_spec(0)
    store = _store(tmp_path, chip_format)
    store.converge([spec], _pixels, run_id="run")

    array, geobox = geo_assets.open_chip(store.paths.catalog, spec.chip_id)

    np.testing.assert_array_equal(array, _pixels(spec).data)
    assert geobox == spec.geobox


def test_a_picture_opens_as_three_bands(tmp_path):
    spec = a_spec(0)
    store = _store(tmp_path, "png")
    store.converge([spec], _pixels, run_id="run")

    array, _ = geo_assets.open_chip(store.paths.catalog, spec.chip_id)

    file = next(store.paths.chips.glob("*.png"))
    with rasterio.open(file) as picture:
        np.testing.assert_array_equal(array, picture.read()[:3])


def test_a_chip_that_is_unknown_failed_or_damaged_is_refused_by_name(tmp_path):
    good, bad = a_spec(0), a_spec(1)

    def read(spec):
        if spec == bad:
            raise ReadError("scene S: no file", kind="permanent")
        return _pixels(spec)

    store = _store(tmp_path, "tif")
    store.converge([good, bad], read, run_id="run")
    with pytest.raises(StorageError, match="no chip 'nobody'"):
        geo_assets.open_chip(store.paths.catalog, "nobody")
    with pytest.raises(StorageError, match="is failed: scene S: no file"):
        geo_assets.open_chip(store.paths.catalog, bad.chip_id)
    file = next(store.paths.chips.glob("*.tif"))
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(StorageError, match="instead of"):
        geo_assets.open_chip(store.paths.catalog, good.chip_id)
