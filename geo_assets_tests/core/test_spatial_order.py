"""Chips follow one another along a Hilbert curve, cluster by cluster."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geo_assets.core.spatial_order import in_spatial_order
from geo_assets_tests.storage.chips.chip_testing import a_spec

SIZE, STRIDE, BLOCK = 256, 51, 512


def a_chip(number, row, col, cluster=0):
    affine = Affine(10, 0, 500_000 + 10 * col, 0, -10, 5_000_000 - 10 * row)
    geobox = GeoBox((SIZE, SIZE), affine, "EPSG:32633")
    return a_spec(number, geobox=geobox, cluster=cluster)


def place_of(spec):
    affine = spec.geobox.affine
    return round((5_000_000 - affine.f) / 10), round((affine.c - 500_000) / 10)


def most_blocks_at_once(specs):
    """Count the blocks that are held if each is, from the first chip that it meets to the last."""
    blocks = []
    for spec in specs:
        row, col = place_of(spec)
        rows = range(row // BLOCK, (row + SIZE - 1) // BLOCK + 1)
        cols = range(col // BLOCK, (col + SIZE - 1) // BLOCK + 1)
        blocks.append({(r, c) for r in rows for c in cols})
    left = Counter(block for met in blocks for block in met)
    held, most = set(), 0
    for met in blocks:
        held |= met
        most = max(most, len(held))
        left.subtract(met)
        held = {block for block in held if left[block]}
    return most


def an_area(rows, cols, stride=STRIDE):
    places = [(row * stride, col * stride) for row in range(rows) for col in range(cols)]
    return [a_chip(number, *place) for number, place in enumerate(places)]


def a_strip():
    return an_area(10, 200)


def test_chips_of_a_wide_strip_hold_few_blocks_at_a_time():
    strip = a_strip()
    assert most_blocks_at_once(strip) > 40  # row by row
    assert most_blocks_at_once(in_spatial_order(strip)) <= 8


@pytest.mark.parametrize(
    ("rows", "cols", "times"), [(53, 53, 1.2), (100, 20, 2)], ids=["square", "tall"]
)
def test_chips_of_other_areas_hold_not_many_more_than_row_by_row(rows, cols, times):
    area = an_area(rows, cols, stride=200)
    assert most_blocks_at_once(in_spatial_order(area)) <= times * most_blocks_at_once(area)


def test_a_turned_grid_has_an_order_too():
    turn = Affine.rotation(90)
    turned = [
        replace(spec, geobox=GeoBox((SIZE, SIZE), turn @ spec.geobox.affine, "EPSG:32633"))
        for spec in an_area(8, 8)
    ]
    assert turned[0].geobox.affine.a == 0
    ids = [spec.chip_id for spec in in_spatial_order(turned)]
    assert ids == [spec.chip_id for spec in in_spatial_order(an_area(8, 8))]


def test_the_order_given_does_not_matter():
    strip = a_strip()
    assert in_spatial_order(strip[::-1]) == in_spatial_order(strip[7:] + strip[:7])


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2)), max_size=30)
)
def test_every_chip_comes_once_and_clusters_stay_together(places):
    specs = [a_chip(number, *place) for number, place in enumerate(places)]
    ordered = in_spatial_order(specs)
    assert sorted(spec.chip_id for spec in ordered) == sorted(spec.chip_id for spec in specs)
    clusters = [spec.cluster for spec in ordered]
    first = list(dict.fromkeys(spec.cluster for spec in specs))
    assert clusters == sorted(clusters, key=first.index)
