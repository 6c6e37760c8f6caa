"""How two grids lie to each other: the same pixels, one lattice, or whole pixels in larger ones."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geo_assets.core.grids import POSITION_TOLERANCE, GridKey, Lattice, crs_of, lattice_position

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

Parts = tuple[slice, NDArray[np.intp]]
"""Pixels of a fine axis that lie in a coarse one, and in which of its pixels each does."""


def same_place(one: GeoBox, other: GeoBox) -> bool:
    """Whether two grids have the same pixels."""
    if one.shape != other.shape or not same_lattice(one, other):
        return False
    return lattice_position(one) == lattice_position(other)


def same_lattice(one: GeoBox, other: GeoBox) -> bool:
    """Whether pixels of two grids coincide wherever both have some."""
    if not (one.axis_aligned and other.axis_aligned):
        return False
    return Lattice.of(one) == Lattice.of(other)


@functools.lru_cache(maxsize=256)
def parts_of_pixels(there: GridKey, here: GridKey) -> tuple[Parts, Parts] | None:
    """Where the pixels of a fine grid lie in those of a coarse one, by rows and by columns.

    None if they do not lie whole within them: another CRS, or edges that do not meet.
    """
    coarse, fine = there.geobox, here.geobox
    if not (coarse.axis_aligned and fine.axis_aligned and crs_of(coarse) == crs_of(fine)):
        return None
    below, above = Lattice.of(coarse), Lattice.of(fine)
    first, first_below = above.position(fine), below.position(coarse)
    rows = _axis_parts(
        (below.pixel_y / above.pixel_y, below.phase_y, above.phase_y),
        (first_below[0], coarse.shape.y),
        (first[0], fine.shape.y),
    )
    cols = _axis_parts(
        (below.pixel_x / above.pixel_x, below.phase_x, above.phase_x),
        (first_below[1], coarse.shape.x),
        (first[1], fine.shape.x),
    )
    return None if rows is None or cols is None else (rows, cols)


def _axis_parts(
    scales: tuple[float, float, float], there: tuple[int, int], here: tuple[int, int]
) -> Parts | None:
    """Return which pixels of the fine axis lie in the coarse one, and in which pixel each does.

    Args:
        scales: Fine pixels to a coarse one, and the phases of the coarse and the fine lattice.
        there: First pixel of the coarse axis on its lattice, and their number.
        here: The same of the fine axis.
    """
    times, phase_there, phase_here = scales
    whole = round(times)
    shift = phase_there * whole - phase_here
    # Phases are rounded, and thirds of a pixel have no end.
    if whole < 1 or times != whole or abs(shift - round(shift)) > POSITION_TOLERANCE:
        return None
    places = (np.arange(here[0], here[0] + here[1]) - round(shift)) // whole - there[0]
    inside = np.flatnonzero((places >= 0) & (places < there[1]))
    if not len(inside):
        return slice(0, 0), inside
    return slice(int(inside[0]), int(inside[-1]) + 1), places[inside]
