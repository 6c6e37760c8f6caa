"""Pixels of a fine grid are found in those of a coarse one wherever they lie whole within them."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geo_assets.core.grids import GridKey
from geo_assets.sources.scenes.lattices import parts_of_pixels, same_lattice, same_place

FINE = GeoBox((200, 200), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")


@settings(deadline=None)
@given(
    times=st.integers(1, 6),
    row=st.integers(-90, 190),
    col=st.integers(-90, 190),
    shift=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_each_pixel_lies_where_its_centre_does(
    times: int, row: int, col: int, shift: tuple[int, int], shape: tuple[int, int]
) -> None:
    coarse = GeoBox((30, 25), FINE.affine @ Affine.translation(*shift) @ Affine.scale(times), 32633)
    fine = FINE[0:1, 0:1].translate_pix(col, row).expand(shape)
    parts = parts_of_pixels(GridKey(coarse), GridKey(fine))
    assert parts is not None
    centres = ~coarse.affine @ fine.affine @ Affine.translation(0.5, 0.5)
    for axis, ((pixels, places), scale, offset) in enumerate(
        zip(parts, (centres.e, centres.a), (centres.f, centres.c), strict=True)
    ):
        wanted = np.floor(np.arange(shape[axis]) * scale + offset).astype(int)
        inside = np.flatnonzero((wanted >= 0) & (wanted < coarse.shape[axis]))
        assert np.arange(shape[axis])[pixels].tolist() == inside.tolist()
        assert places.tolist() == wanted[inside].tolist()


@pytest.mark.parametrize(
    ("pixel", "east", "crs"), [(10, 5, 32633), (15, 0, 32633), (40, 0, 32633), (10, 0, 32632)]
)
def test_pixels_that_lie_across_others_are_in_none(pixel: int, east: int, crs: int) -> None:
    coarse = GeoBox((9, 9), Affine(20, 0, 500_000, 0, -20, 5_400_000), "EPSG:32633")
    fine = GeoBox((4, 4), Affine(pixel, 0, 500_000 + east, 0, -pixel, 5_400_000), crs)
    assert parts_of_pixels(GridKey(coarse), GridKey(fine)) is None


def test_windows_of_a_grid_are_of_its_lattice_and_have_a_place_of_their_own() -> None:
    assert same_lattice(FINE, FINE[20:40, 30:50])
    assert not same_lattice(FINE, FINE.translate_pix(0.5, 0))
    assert same_place(FINE[20:40, 30:50], FINE[10:60, 10:60][10:30, 20:40])
    assert not same_place(FINE[20:40, 30:50], FINE[20:40, 31:51])
