"""Colours reduced to few: compared with numpy and scipy, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from geo_assets.previews.quantisation import Colours, lengthen_runs, packed


@pytest.fixture
def pixels():
    """Forty colours, some far commoner than others."""
    rng = np.random.default_rng(5)
    palette = rng.integers(0, 256, (40, 3), np.uint8)
    return palette[(40 * rng.random((60, 50)) ** 3).astype(int)]


def test_the_different_colours_are_those_of_numpy(pixels):
    colours = Colours.of(pixels.reshape(-1, 3))
    values, counts = np.unique(packed(pixels), return_counts=True)
    np.testing.assert_array_equal(colours.values, values)
    np.testing.assert_array_equal(colours.counts, counts)
    np.testing.assert_array_equal(colours.values[colours.places], packed(pixels).ravel())


def test_packed_colours_read_as_hexadecimal_notation():
    assert packed(np.array([[0x12, 0xAB, 0xFF]], np.uint8)).tolist() == [0x12ABFF]


def test_the_commonest_colours_are_kept(pixels):
    values, counts = np.unique(packed(pixels), return_counts=True)
    kept = packed(Colours.of(pixels.reshape(-1, 3)).frequent(7))
    others = counts[~np.isin(values, kept)]
    assert len(kept) == 7
    assert counts[np.isin(values, kept)].min() >= others.max()


def test_few_colours_are_typical_of_themselves_and_many_come_near(pixels):
    colours = Colours.of(pixels.reshape(-1, 3))
    np.testing.assert_array_equal(packed(colours.typical(40)), colours.values)
    far = [
        cdist(pixels.reshape(-1, 3), colours.typical(count)).min(axis=1).mean()
        for count in (4, 12, 30)
    ]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 10


def test_each_pixel_gets_the_nearest_colour_of_the_palette(pixels):
    palette = np.random.default_rng(6).integers(0, 256, (25, 3), np.uint8)
    flat = pixels.reshape(-1, 3)
    chosen = Colours.of(flat).nearest(palette)
    apart = cdist(flat, palette)
    np.testing.assert_array_equal(apart[np.arange(len(flat)), chosen], apart.min(axis=1))


def test_one_hue_among_greys_is_seen():
    greys = np.repeat(np.arange(9, dtype=np.uint8), 3).reshape(-1, 3)
    assert Colours.of(greys).grey
    for channel in range(3):
        tinted = greys.copy()
        tinted[4, channel] += 1
        assert not Colours.of(tinted).grey


def test_no_pixels_have_no_colours():
    colours = Colours.of(np.zeros((0, 3), np.uint8))
    assert len(colours.values) == len(colours.counts) == 0
    assert colours.nearest(np.zeros((1, 3), np.uint8)).shape == (0,)


def lengthened(indices, pixels, within, palette, tolerance):
    """The rule in numpy, a column at a time."""
    out = indices.copy()
    error = ((palette[None, None].astype(int) - pixels[:, :, None].astype(int)) ** 2).sum(axis=3)
    rows = np.arange(len(out))
    for column in range(1, out.shape[1]):
        left, own = out[:, column - 1], out[:, column]
        costs = error[rows, column, left] - error[rows, column, own]
        repeat = (costs < tolerance**2) & within[:, column - 1] & within[:, column]
        out[:, column] = np.where(repeat, left, own)
    return out


@pytest.mark.parametrize("tolerance", [1, 40, 200])
def test_runs_grow_where_the_eye_allows_it_and_nowhere_else(pixels, tolerance):
    rng = np.random.default_rng(7)
    palette = rng.integers(0, 256, (25, 3), np.uint8)
    within = rng.random(pixels.shape[:2]) < 0.8
    before = Colours.of(pixels.reshape(-1, 3)).nearest(palette).reshape(within.shape)
    after = before.copy()
    lengthen_runs(after, pixels, within, palette, tolerance)
    np.testing.assert_array_equal(after, lengthened(before, pixels, within, palette, tolerance))
    np.testing.assert_array_equal(after[~within], before[~within])


def test_a_wide_tolerance_makes_one_run_of_each_row(pixels):
    palette = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    within = np.ones(pixels.shape[:2], bool)
    indices = Colours.of(pixels.reshape(-1, 3)).nearest(palette).reshape(within.shape)
    lengthen_runs(indices, pixels, within, palette, 1000)
    assert (indices == indices[:, :1]).all()
