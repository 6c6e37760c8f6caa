"""The fields: blocks of land between tracks, each cut into parcels that lie side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely import LineString, MultiPoint
from shapely.ops import split

if TYPE_CHECKING:
    from shapely import Polygon

BLOCK_M = 760.0
LONGEST_M, SMALLEST_M2, LARGEST_M2 = 520.0, 55_000.0, 150_000.0


def draw_blocks(
    generator: np.random.Generator, bounds: tuple[float, float, float, float]
) -> list[Polygon]:
    """Cover a box (left, bottom, right, top; metres) with convex blocks some 760 m across."""
    left, bottom, right, top = bounds
    area = shapely.box(*bounds)
    x, y = np.meshgrid(np.arange(left, right, BLOCK_M), np.arange(bottom, top, BLOCK_M))
    # Every second row is moved by half a block, so that tracks do not line up.
    x = x + np.where(np.arange(len(x)) % 2, 0.75, 0.25)[:, None] * BLOCK_M
    points = np.stack([x.ravel(), y.ravel() + BLOCK_M / 2], -1)
    points += generator.uniform(-0.27, 0.27, points.shape) * BLOCK_M
    cells = shapely.voronoi_polygons(MultiPoint(points), extend_to=area, ordered=True)
    clipped = shapely.intersection(shapely.get_parts(cells), area)
    return [cell for cell in clipped if cell.area > 1]


def cut_into_parcels(generator: np.random.Generator, blocks: list[Polygon]) -> list[Polygon]:
    """Cut each block along its own direction into parcels of some 5 to 15 hectares."""
    parcels: list[Polygon] = []
    for block in blocks:
        angle = generator.uniform(0, np.pi / 2)
        axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        parcels += _cut(generator, block, axes)
    return parcels


def _cut(generator: np.random.Generator, piece: Polygon, axes: np.ndarray) -> list[Polygon]:
    along = shapely.get_coordinates(piece) @ axes.T
    low, high = along.min(0), along.max(0)
    longest = int(np.argmax(high - low))
    length = high[longest] - low[longest]
    target = generator.uniform(SMALLEST_M2, LARGEST_M2)
    if piece.area <= target and length <= LONGEST_M:
        return [piece]
    place = low[longest] + length * generator.uniform(0.38, 0.62)
    ends = np.array([low[1 - longest] - 1, high[1 - longest] + 1])
    knife = np.empty((2, 2))
    knife[:, longest], knife[:, 1 - longest] = place, ends
    halves = shapely.get_parts(split(piece, LineString(knife @ axes)))
    return [part for half in halves for part in _cut(generator, half, axes)]
