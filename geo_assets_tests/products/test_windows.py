from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.products.windows import (
    FailedWindow,
    Window,
    disjoint_windows,
    merge_windows,
    say_the_same,
    tiles_of,
)

SIZE = 40
WINDOWS = st.lists(
    st.builds(
        Window,
        st.integers(0, 24),
        st.integers(0, 24),
        st.integers(1, 16),
        st.integers(1, 16),
    ),
    max_size=12,
)
LEAVES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from("ab")))


def painted(windows):
    """How many windows cover each pixel."""
    count = np.zeros((SIZE, SIZE), int)
    for window in windows:
        count[window.slices] += 1
    return count


def failed(row, col, height, width, scene="a", *, error="gone"):
    return FailedWindow(row, col, height, width, scene, "permanent", error)


@settings(deadline=None)
@given(WINDOWS)
def test_disjoint_windows_cover_the_same_pixels_each_once(windows):
    parted = disjoint_windows(windows)
    assert (painted(parted) <= 1).all()
    np.testing.assert_array_equal(painted(parted) > 0, painted(windows) > 0)


@settings(deadline=None)
@given(WINDOWS, WINDOWS)
def test_disjoint_windows_leave_out_what_they_are_told(windows, without):
    parted = disjoint_windows(windows, without)
    assert (painted(parted) <= 1).all()
    wanted = (painted(windows) > 0) & (painted(without) == 0)
    np.testing.assert_array_equal(painted(parted) > 0, wanted)


@settings(deadline=None)
@given(WINDOWS)
def test_merged_windows_cover_the_same_pixels_whether_they_overlap_or_not(windows):
    merged = merge_windows(windows)
    assert len(merged) <= len(windows)
    np.testing.assert_array_equal(painted(merged) > 0, painted(windows) > 0)


@settings(deadline=None)
@given(WINDOWS, WINDOWS)
def test_windows_say_the_same_if_they_cover_the_same_however_they_are_cut(windows, others):
    def of_a_scene(pixels):
        return [failed(int(row), int(col), 1, 1) for row, col in np.argwhere(pixels)]

    whole = [failed(w.row, w.col, w.height, w.width) for w in windows]
    assert say_the_same(whole, of_a_scene(painted(windows)))
    equal = np.array_equal(painted(windows) > 0, painted(others) > 0)
    assert say_the_same(whole, of_a_scene(painted(others))) == equal
    assert say_the_same(whole, [failed(0, 0, 9, 9, "b"), *whole]) is False


@settings(deadline=None)
@given(LEAVES)
def test_leaves_of_scenes_are_joined_without_mixing_scenes(leaves):
    windows = [failed(4 * row, 4 * col, 4, 4, scene) for row, col, scene in set(leaves)]
    merged = merge_windows(windows)
    for scene in "ab":
        before = painted(w for w in windows if w.scene_id == scene)
        np.testing.assert_array_equal(painted(w for w in merged if w.scene_id == scene), before)
    assert merged == merge_windows(reversed(windows)) == merge_windows(merged)


@settings(deadline=None)
@given(
    st.integers(0, 200),
    st.integers(0, 200),
    st.integers(1, 90),
    st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
)
def test_tiles_fill_a_grid_each_pixel_once_with_edges_on_the_lattice(rows, cols, size, position):
    count = np.zeros((rows, cols), int)
    for tile in tiles_of((rows, cols), size, position):
        assert 0 < tile.height <= size
        assert 0 < tile.width <= size
        assert tile.row == 0 or (position[0] + tile.row) % size == 0
        assert tile.col == 0 or (position[1] + tile.col) % size == 0
        count[tile.slices] += 1
    assert (count == 1).all()


def test_a_block_of_leaves_becomes_one_window():
    leaves = [failed(row, col, 64, 64) for row in (64, 128) for col in (0, 64, 128)]
    assert merge_windows(leaves) == [failed(64, 0, 128, 192)]


def test_windows_that_failed_for_two_reasons_stay_two():
    windows = [failed(0, 0, 4, 4), failed(0, 4, 4, 4, error="locked")]
    assert merge_windows(windows) == windows


def test_windows_meet_when_they_share_a_pixel_and_not_when_they_touch():
    window = Window(10, 10, 5, 5)
    assert window.meets(Window(14, 14, 1, 1))
    assert not window.meets(Window(15, 10, 5, 5))
    assert not window.meets(Window(10, 5, 5, 5))
    assert window.within(Window(12, 0, 9, 12)) == Window(12, 10, 3, 2)


def test_growing_and_moving_keep_what_a_failed_window_says():
    grown = failed(5, 6, 7, 8, "s").grown(2).moved(10, 20)
    assert grown == failed(13, 24, 11, 12, "s")


def test_no_windows_are_no_windows():
    assert merge_windows([]) == disjoint_windows([]) == []
