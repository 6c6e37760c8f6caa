"""Bands and indices of a composite as the features of land cover, read block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.errors import ClusteringError
from geo_assets.products.labels.features import FeatureBlock
from geo_assets.products.windows import Window, tiles_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

_EDGE = 1024
"""Pixels a side of what is read at once: whole blocks of a COG."""


@dataclass(frozen=True)
class CompositeBands:
    """Bands of a composite and indices of them (``AreaFeatures``); never its label band."""

    path: Path
    geobox: GeoBox
    bands: tuple[str, ...]
    common_names: tuple[str, ...]
    indices: tuple[str, ...]
    dtype: str

    @classmethod
    def of(
        cls,
        path: Path,
        bands: tuple[str, ...],
        common_names: tuple[str, ...],
        indices: tuple[str, ...],
    ) -> CompositeBands:
        """Return what a composite offers, without a pixel.

        Raises:
            ClusteringError: If the composite holds other bands.
            StorageError: If the composite is not there.
        """
        from geo_assets.storage.rasters.cog import open_raster

        with open_raster(path, asset="composite_image") as raster:
            one = raster.window(raster.geobox[:1, :1])
            here = one.band_names[: len(bands)]
            if here != bands:
                msg = (
                    f"{path}: its bands are {list(one.band_names)}, the campaign's are "
                    f"{list(bands)}; materialize composite_image again"
                )
                raise ClusteringError(msg)
            return cls(path, raster.geobox, bands, common_names, indices, str(one.data.dtype))

    @property
    def names(self) -> tuple[str, ...]:
        """Bands, then indices."""
        return self.bands + self.indices

    @property
    def units(self) -> tuple[str, ...]:
        """The composite's dtype says the unit of bands: numbers of the product, or floats."""
        return (self.dtype,) * len(self.bands) + ("1",) * len(self.indices)

    def windows(self) -> list[Window]:
        """Return the blocks of the area, row by row."""
        return tiles_of(self.geobox.shape.yx, _EDGE)

    def read(self, window: Window) -> FeatureBlock:
        """Read the features of a block; a pixel is valid where the composite is.

        And where each index has a value.
        """
        from geo_assets.core.land_cover_features import land_cover_features
        from geo_assets.storage.rasters.cog import read_window

        raster = read_window(self.path, self.geobox[window.slices])
        values, valid = land_cover_features(
            raster.data[: len(self.bands)], raster.valid, self.common_names, self.indices
        )
        return FeatureBlock(values, valid, int(valid.sum()) * len(values))

    def thinned(self, bands: list[int], step: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return some bands (band, y, x) and validity at every ``step``-th row and column."""
        from geo_assets.storage.rasters.cog import open_raster

        pixels, valid = [], []
        with open_raster(self.path) as raster:
            height = max(_EDGE // step, 1) * step
            rows = self.geobox.shape.y
            for top in range(0, rows, height):
                strip = raster.window(self.geobox[top : min(top + height, rows), :])
                pixels.append(strip.data[bands, ::step, ::step])
                valid.append(strip.valid[::step, ::step])
        return np.concatenate(pixels, axis=1), np.concatenate(valid)
