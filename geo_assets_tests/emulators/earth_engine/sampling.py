"""Pixels of one lattice on another: nearest and bilinear, masks alike.

Nearest takes the pixel that holds the centre. Bilinear weighs four neighbours and gives no datum
where one that counts has none; the service's masks are fractions there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geo_assets_tests.emulators.earth_engine.values import Pixels, Projection, Pull, bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_PIXELS = 1e8
"""Pixels of an intermediate lattice beyond which a request is too heavy."""


def positions(grid: GeoBox, projection: Projection) -> tuple[NDArray, NDArray]:
    """Return column and row (y, x), in pixels of a lattice, of the centres of a grid's pixels."""
    rows, cols = grid.shape
    col, row = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    a = grid.affine
    x, y = a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f
    if str(grid.crs) != projection.crs:
        turn = Transformer.from_crs(str(grid.crs), projection.crs, always_xy=True)
        x, y = turn.transform(x, y)
    inverse = ~projection.transform
    return (
        inverse.a * x + inverse.b * y + inverse.c,
        inverse.d * x + inverse.e * y + inverse.f,
    )


def sampled(
    pull: Pull, grid: GeoBox, projection: Projection, wanted: Sequence[int], how: str = "nearest"
) -> list[Pixels]:
    """Return pixels on a grid from those that ``pull`` gives on another lattice."""
    place = projection.window(grid)
    if place is not None:
        row, col = place
        return pull(_window(projection, row, col, grid.shape.yx), wanted)
    col, row = positions(grid, projection)
    known = np.isfinite(col) & np.isfinite(row)
    if not known.any():
        nothing = np.zeros(grid.shape, bool)
        return [(np.zeros(grid.shape), nothing) for _ in wanted]
    margin = 0 if how == "nearest" else 2
    top, left = int(np.floor(row[known].min())) - margin, int(np.floor(col[known].min())) - margin
    height = int(np.floor(row[known].max())) - top + 1 + margin
    width = int(np.floor(col[known].max())) - left + 1 + margin
    if height * width > MOST_PIXELS:
        raise bad_request("Output of image computation is too large. Reprojection output too large")
    row, col = np.where(known, row, row[known].min()), np.where(known, col, col[known].min())
    parts = pull(_window(projection, top, left, (height, width)), wanted)
    if how == "nearest":
        r, c = np.floor(row).astype(int) - top, np.floor(col).astype(int) - left
        return [(data[r, c], mask[r, c] & known) for data, mask in parts]
    return [_bilinear(data, mask, row - top, col - left, known) for data, mask in parts]


def _bilinear(data: NDArray, mask: NDArray, row: NDArray, col: NDArray, known: NDArray) -> Pixels:
    r0, c0 = np.floor(row - 0.5).astype(int), np.floor(col - 0.5).astype(int)
    down, right = row - 0.5 - r0, col - 0.5 - c0
    value, valid = np.zeros(row.shape), known.copy()
    for dr, wr in ((0, 1 - down), (1, down)):
        for dc, wc in ((0, 1 - right), (1, right)):
            weight = wr * wc
            r, c = np.clip(r0 + dr, 0, data.shape[0] - 1), np.clip(c0 + dc, 0, data.shape[1] - 1)
            value += weight * np.where(mask[r, c], data[r, c], 0)
            valid &= mask[r, c] | (weight < 1e-9)
    return value, valid


def _window(projection: Projection, row: int, col: int, shape: tuple[int, int]) -> GeoBox:
    affine = projection.transform @ Affine.translation(col, row)
    return GeoBox(shape, affine, projection.crs)
