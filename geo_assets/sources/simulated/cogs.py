"""The archive's rasters as Cloud-Optimized GeoTIFFs, one band each.

Without overviews: a tile is a few blocks wide, and the archive is to stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rasterio

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

BLOCK_SIZE = 256


def write_cog(
    path: Path,
    pixels: NDArray[np.uint16] | NDArray[np.uint8],
    lattice: GeoBox,
    colours: dict[int, tuple[int, int, int]] | None = None,
) -> None:
    """Write pixels (y, x; 0 = no data) as COG in zstd blocks of 256 × 256 pixels."""
    with rasterio.open(
        path,
        "w",
        driver="COG",
        height=pixels.shape[0],
        width=pixels.shape[1],
        count=1,
        dtype=pixels.dtype,
        nodata=0,
        crs=str(lattice.crs),
        transform=lattice.affine,
        blocksize=BLOCK_SIZE,
        compress="ZSTD",
        level=1,
        predictor="YES",
        overviews="NONE",
    ) as file:
        file.write(pixels, 1)
        if colours is not None:
            file.write_colormap(1, colours)
