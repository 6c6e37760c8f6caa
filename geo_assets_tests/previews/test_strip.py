"""The strip of the README."""

from __future__ import annotations

import numpy as np
import pytest

from geo_assets.previews.palette import class_colours, class_table, rgb_of
from geo_assets.previews.strip import STRIP_BYTES, StripParts, match_classes, readme_strip


def parts(height=150, width=180):
    rng = np.random.default_rng(0)
    truth = (np.indices((height, width))[1] * 3 // width + 1).astype(np.uint8)
    image = (truth.astype(int) * 400 + rng.integers(0, 200, (3, height, width))).astype(np.uint16)
    labels = np.zeros((height, width), np.uint8)
    labels[30:60, 30:60] = 1
    return StripParts(
        image=image, valid=None, labels=labels, classes=class_table(["water", "soil", "wood"]),
        chips=[image[:, y : y + 48, x : x + 48] for y in (0, 50, 100) for x in (0, 60, 120)],
        ndvi=truth * 0.25 + rng.normal(0, 0.02, truth.shape),
        temporal=(4 - truth).astype(np.uint8), truth=truth,
        truth_classes=class_table(["water", "soil", "wood"]),
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(150, 180), (700, 300), (40, 40)])
def test_the_strip_is_1600_pixels_wide_and_below_its_bound(shape, opened):
    pixels = opened(readme_strip(parts(*shape), ("a", "b")), STRIP_BYTES)

    assert pixels.shape[1] == 1600
    assert pixels.shape[0] < 420


def test_temporal_labels_wear_the_colours_of_the_truth_they_match(opened):
    pixels = opened(readme_strip(parts()), STRIP_BYTES)
    temporal, truth = pixels[100:300, 980:1260], pixels[100:300, 1300:1580]

    for colour in class_colours(3):
        ours, theirs = ((panel == rgb_of(colour)).all(axis=2).sum() for panel in (temporal, truth))
        assert ours == pytest.approx(theirs, rel=0.05)


def test_matching_is_one_to_one_and_leaves_other_clusters_their_own_colour():
    truth = np.repeat(np.array([[1, 2]], np.uint8), 4, axis=1)
    labels = np.array([[5, 5, 5, 3, 9, 9, 9, 9]], np.uint8)
    table = match_classes(labels, truth, {1: ("a", "#0072b2"), 2: ("b", "#e69f00")})

    assert table[5][1] == "#0072b2"
    assert table[9][1] == "#e69f00"
    assert table[3] == ("cluster 3", class_colours(3)[2])


def test_a_cluster_never_wears_the_colour_of_a_class_that_it_does_not_meet():
    truth = np.array([[1, 1, 1, 1]], np.uint8)
    labels = np.array([[1, 1, 1, 2]], np.uint8)
    table = match_classes(labels, truth, {1: ("a", "#0072b2"), 2: ("b", "#e69f00")})

    assert table[1] == ("a", "#0072b2")
    assert table[2][0] == "cluster 2"
    assert table[2][1] not in {"#0072b2", "#e69f00"}


def test_nothing_to_match_is_no_error():
    nothing = np.zeros((3, 3), np.uint8)

    assert match_classes(nothing, nothing, {}) == {}


@pytest.mark.real_data
def test_a_real_strip_is_drawn(aberystwyth, opened):
    data, cover = aberystwyth
    image = data[[2, 1, 0]]
    red, nir = data[[2, 6]].astype(np.float32)
    strip = StripParts(
        image=image, valid=None, labels=np.zeros_like(cover), classes={},
        chips=[image[:, :128, :128]] * 9, ndvi=(nir - red) / (nir + red), temporal=cover,
        truth=cover, truth_classes=class_table(["forest", "grass", "urban", "water"]),
    )  # fmt: skip

    opened(readme_strip(strip), STRIP_BYTES)
