from __future__ import annotations

import pickle

import numpy as np

from geo_assets.core.indices import normalized_difference
from geo_assets.products.labels import composite_bands
from geo_assets.products.labels.composite_bands import CompositeBands
from geo_assets.storage.rasters.cog import write_cog
from geo_assets_tests.assets.label_cases import GRID


def test_a_composite_is_thinned_strip_by_strip(tmp_path, monkeypatch):
    monkeypatch.setattr(composite_bands, "_EDGE", 16)
    pixels = np.random.default_rng(0).integers(1, 3000, (3, *GRID.shape.yx)).astype(np.uint16)
    valid = pixels[0] > 300
    path = tmp_path / "cluster-0.tif"
    write_cog(path, pixels, GRID, valid=valid, band_names=["B04", "B08", "label"])
    bands = CompositeBands.of(path, ("B04", "B08"), ("red", "nir"), ("NDVI",))
    thin, known = bands.thinned([1, 0], 3)
    np.testing.assert_array_equal(thin, pixels[[1, 0], ::3, ::3])
    np.testing.assert_array_equal(known, valid[::3, ::3])
    assert bands.names == ("B04", "B08", "NDVI")
    assert bands.units == ("uint16", "uint16", "1")


def test_blocks_hold_bands_and_indices_and_travel_as_names(tmp_path, monkeypatch):
    monkeypatch.setattr(composite_bands, "_EDGE", 32)
    pixels = np.random.default_rng(1).integers(1, 3000, (3, *GRID.shape.yx)).astype(np.uint16)
    valid = pixels[0] > 300
    path = tmp_path / "cluster-0.tif"
    write_cog(path, pixels, GRID, valid=valid, band_names=["B04", "B08", "label"])
    bands = CompositeBands.of(path, ("B04", "B08"), ("red", "nir"), ("NDVI",))
    packed = pickle.dumps(bands)
    assert len(packed) < 3000
    again = pickle.loads(packed)  # noqa: S301  # our own bytes
    ndvi = normalized_difference(pixels[1], pixels[0], valid)
    for window in bands.windows():
        block = again.read(window)
        here = window.slices
        np.testing.assert_array_equal(block.valid, valid[here])
        np.testing.assert_array_equal(block.values[:2], pixels[:2, *here])
        np.testing.assert_allclose(block.values[2][valid[here]], ndvi[here][valid[here]], rtol=1e-6)
