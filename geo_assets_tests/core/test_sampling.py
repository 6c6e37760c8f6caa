import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.sampling import block_sample, merge_samples
from geo_assets.errors import GeoAssetsError

FIELDS = ("values", "rows", "cols", "places")


def area(seed=0, shape=(50, 70), share=0.8):
    """Features that tell a pixel (its row and its column), and which pixels may be drawn."""
    features = np.stack(np.indices(shape)).astype(np.float32)
    return features, np.random.default_rng(seed).random(shape) < share


def sample_of(features, valid, size, seed, cuts=((), ())):
    """The sample of an area cut into blocks, those in the order of a shuffle."""
    shape = valid.shape
    edges = [[0, *sorted(set(cut)), end] for cut, end in zip(cuts, shape, strict=True)]
    blocks = [
        (slice(top, bottom), slice(left, right))
        for top, bottom in zip(edges[0], edges[0][1:], strict=False)
        for left, right in zip(edges[1], edges[1][1:], strict=False)
    ]
    np.random.default_rng(len(blocks)).shuffle(blocks)
    samples = [
        block_sample(
            features[:, rows, cols],
            valid[rows, cols],
            origin=(rows.start, cols.start),
            shape=shape,
            size=size,
            seed=seed,
        )
        for rows, cols in blocks
    ]
    return merge_samples(samples, size)


def assert_same(one, other):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 900),
    share=st.sampled_from([0.02, 0.5, 1]),
    rows=st.lists(st.integers(1, 49), max_size=4),
    cols=st.lists(st.integers(1, 69), max_size=4),
)
@settings(deadline=None)
def test_a_sample_does_not_depend_on_blocks_and_their_order(seed, size, share, rows, cols):
    features, valid = area(seed, share=share)
    whole = sample_of(features, valid, size, seed)
    parts = sample_of(features, valid, size, seed, (rows, cols))
    assert_same(parts, whole)
    assert len(whole.places) == min(size, valid.sum())
    assert valid[whole.rows, whole.cols].all()
    assert len(set(zip(whole.rows.tolist(), whole.cols.tolist(), strict=True))) == len(whole.rows)
    np.testing.assert_array_equal(whole.values, np.stack([whole.rows, whole.cols], axis=1))


def test_a_smaller_sample_is_the_beginning_of_a_larger_one():
    features, valid = area(share=0.6)
    large = sample_of(features, valid, 5000, 9)
    assert len(large.places) == valid.sum()
    assert (np.diff(large.places) > 0).all()
    for size in (1, 7, 100, 1234):
        small = sample_of(features, valid, size, 9)
        np.testing.assert_array_equal(small.places, large.places[:size])
        np.testing.assert_array_equal(small.values, large.values[:size])


def test_samples_can_be_merged_one_after_the_other():
    features, valid = area()
    halves = [
        block_sample(features[:, part], valid[part], origin=(start, 0), **drawn)
        for start, part in ((0, slice(0, 20)), (20, slice(20, 30)), (30, slice(30, 50)))
        for drawn in [{"shape": (50, 70), "size": 300, "seed": 4}]
    ]
    one_by_one = merge_samples([merge_samples(halves[1:], 300), halves[0]], 300)
    assert_same(one_by_one, merge_samples(halves, 300))
    assert_same(one_by_one, sample_of(features, valid, 300, 4))


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_every_tile_gives_one_pixel_to_a_sample_of_as_many_as_there_are_tiles(side):
    features, valid = area(shape=(64, 96), share=2)
    drawn = sample_of(features, valid, 64 * 96 // side**2, 3)
    tiles = set(zip((drawn.rows // side).tolist(), (drawn.cols // side).tolist(), strict=True))
    assert len(tiles) == len(drawn.rows) == 64 * 96 // side**2


def test_every_part_gives_by_its_share_whatever_the_size():
    features, valid = area(shape=(256, 256), share=2)
    drawn = sample_of(features, valid, 5000, 3)
    counts, _, _ = np.histogram2d(drawn.rows, drawn.cols, bins=4, range=((0, 256), (0, 256)))
    assert np.abs(counts - 5000 / 16).max() <= 1  # a draw at random would miss by 40


def test_every_pixel_is_drawn_as_often_as_any_other():
    features, valid = area(shape=(8, 8), share=2)
    counts = np.zeros((8, 8))
    for seed in range(1600):
        drawn = sample_of(features, valid, 4, seed)
        np.add.at(counts, (drawn.rows, drawn.cols), 1)
    # 100 each, with a standard deviation below 10.
    assert counts.sum() == 6400
    assert 60 < counts.min() < counts.max() < 140


def test_another_seed_draws_other_pixels():
    features, valid = area()
    one, other = (sample_of(features, valid, 100, seed) for seed in (1, 2))
    assert len(set(one.places.tolist()) & set(other.places.tolist())) < 20


def test_pixels_without_all_features_can_be_drawn_as_they_are():
    features, valid = area()
    features[1] = np.nan
    drawn = sample_of(features, valid, 10, 1)
    assert np.isnan(drawn.values[:, 1]).all()
    assert not np.isnan(drawn.values[:, 0]).any()


def test_a_block_without_valid_pixels_gives_none():
    features, valid = area()
    nothing = sample_of(features, np.zeros_like(valid), 10, 1)
    assert nothing.values.shape == (0, 2)
    assert_same(merge_samples([nothing, nothing], 5), nothing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "sample size: 0 pixels; allowed: 1 or more"),
        ({"origin": (1, 0)}, r"a block of \(50, 70\) at \(1, 0\) leaves its area of \(50, 70\)"),
        ({"origin": (0, -1)}, "leaves its area"),
        ({"shape": (2**24, 70)}, "fewer than 16777216 rows"),
        ({"valid": np.ones((50, 71), bool)}, "shapes: features"),
    ],
)
def test_what_cannot_be_sampled_is_refused_by_name(arguments, message):
    features, valid = area()
    good = {"valid": valid, "origin": (0, 0), "shape": (50, 70), "size": 5, "seed": 1}
    with pytest.raises(GeoAssetsError, match=message):
        block_sample(features, **(good | arguments))


def test_nothing_cannot_be_merged():
    with pytest.raises(GeoAssetsError, match="samples: none"):
        merge_samples([], 5)
