from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from geo_assets.previews.changes import area_series, drop_map, transition_map
from geo_assets.previews.palette import NO_DATA, class_table, rgb_of
from geo_assets.previews.png import MAX_BYTES

CLASSES = class_table(["NDVI 0.1", "NDVI 0.4", "NDVI 0.8"], ordered=True)
DAYS = [f"2021-{month:02}-01" for month in range(1, 11)]


def opened(png):
    assert len(png) <= MAX_BYTES
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def holds(picture, colour):
    return (picture == rgb_of(colour)).all(axis=-1).any()


def test_a_transition_map_shows_each_cluster_in_its_colour():
    counts = np.array([[900, 50, 0], [100, 800, 100], [0, 0, 0]])
    picture = opened(transition_map(counts, CLASSES, subtitle="cluster 0"))
    for _, colour in CLASSES.values():
        assert holds(picture, colour)


@pytest.mark.parametrize("k", [2, 12, 32])
def test_a_transition_map_of_any_k_is_small(k):
    counts = np.random.default_rng(0).integers(0, 10_000, (k, k))
    opened(transition_map(counts, class_table([f"NDVI {n}" for n in range(k)], ordered=True)))


def test_areas_are_stacked_in_the_colours_of_the_clusters():
    areas = np.random.default_rng(0).integers(1, 500, (10, 4))
    areas[4] = [1000, 0, 0, 0]  # a date without datum
    picture = opened(area_series(areas, DAYS, CLASSES))
    shares = [(picture == rgb_of(colour)).all(axis=-1).sum() for _, colour in CLASSES.values()]
    assert min(shares) > 1000


def test_areas_without_a_pixel_of_no_data_are_drawn():
    """The shares of this date add up to a little more than 1."""
    areas = np.array([[0, 183, 2463, 1340, 5943, 71]] * 2)
    assert (areas[0, 1:] / areas[0].sum()).sum() > 1
    opened(area_series(areas, DAYS[:2], class_table([f"NDVI {n}" for n in range(5)])))


def test_bars_of_areas_end_at_the_valid_share_of_their_date():
    green = CLASSES[3][1]

    def painted(colour, valid):
        areas = np.array([[100 - valid, 0, 0, valid], [0, 0, 0, 100]])
        picture = opened(area_series(areas, DAYS[:2], CLASSES))
        return (picture == rgb_of(colour)).all(axis=-1).sum()

    none, some, half, whole = (painted(green, valid) for valid in (0, 5, 50, 100))
    assert (some - none) / (whole - none) == pytest.approx(0.05, abs=0.02)
    assert (half - none) / (whole - none) == pytest.approx(0.5, abs=0.02)
    bare = painted(NO_DATA, 100)
    assert painted(NO_DATA, 5) - bare > 0.9 * (whole - none)


def test_areas_of_few_polygons_fill_their_axis():
    areas = np.array([[970, 0, 0, 30], [985, 0, 0, 15]])
    picture = opened(area_series(areas, DAYS[:2], CLASSES))
    full = opened(area_series(areas[:, [1, 1, 1, 3]], DAYS[:2], CLASSES))
    green = [(each == rgb_of(CLASSES[3][1])).all(axis=-1).sum() for each in (picture, full)]
    assert green[0] > 0.5 * green[1]


def test_drops_are_coloured_by_their_date():
    drops = np.zeros((40, 60), np.uint16)
    drops[:10], drops[30:] = 1, 10
    valid = np.ones((40, 60), bool)
    valid[:, :5] = False
    picture = opened(drop_map(drops, valid, DAYS))
    early, middle, late = (
        (picture == rgb_of(colour)).all(axis=-1).sum()
        for colour in ("#fde5a4", "#d55e00", "#4a1486")
    )
    assert min(early, late) > 5000
    assert middle < 250  # its swatch in the legend


@pytest.mark.parametrize(
    "png",
    [
        transition_map(np.zeros((3, 3), int), CLASSES),
        area_series(np.array([[9, 0, 0, 0]] * 2), DAYS[:2], CLASSES),
        drop_map(np.zeros((4, 4), int), np.zeros((4, 4), bool), DAYS),
    ],
    ids=["transitions", "areas", "drops"],
)
def test_nothing_to_show_says_so(png):
    assert opened(png).shape[1] == 480
