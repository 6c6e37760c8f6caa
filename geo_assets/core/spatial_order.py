"""Chips in an order in which neighbours follow one another.

They share blocks of the raster that they are cut from and, where many lie in one shard, the shard.
Of a wide strip, or of many rasters, far fewer blocks are held at a time than row by row; of a
square about as many, of a tall area up to twice as many. Who reads an area opens fewer shards.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import geopandas
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets.core.chips import ChipSpec


def in_spatial_order(specs: Sequence[ChipSpec]) -> list[ChipSpec]:
    """Return chips cluster by cluster, each along a Hilbert curve over its pixels.

    Chips of one place stay in their order.
    """
    by_cluster: defaultdict[int, list[ChipSpec]] = defaultdict(list)
    for spec in specs:
        by_cluster[spec.cluster].append(spec)
    return [spec for chips in by_cluster.values() for spec in _along_a_curve(chips)]


def _along_a_curve(specs: list[ChipSpec]) -> list[ChipSpec]:
    corners = np.array([(spec.geobox.affine.c, spec.geobox.affine.f) for spec in specs])
    to_pixels = ~specs[0].geobox.affine
    x, y = to_pixels @ tuple(corners.T)
    # A square, or the curve would be stretched along an area that is not.
    side = max(np.ptp(x), np.ptp(y), 1.0)
    square = (x.min(), y.min(), x.min() + side, y.min() + side)
    distances = geopandas.GeoSeries.from_xy(x, y).hilbert_distance(total_bounds=square)
    return [specs[number] for number in np.argsort(distances.to_numpy(), kind="stable")]
