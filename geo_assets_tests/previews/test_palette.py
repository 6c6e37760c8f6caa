"""Colours: distinct for everyone, never mistaken for no data."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.palette import (
    CHECKER,
    IGNORED,
    MAX_CLASSES,
    NO_DATA,
    PAPER,
    class_colours,
    class_table,
    complete_table,
    ordered_colours,
    paint_labels,
    paint_ndvi,
    rgb_of,
)

# Machado, Oliveira and Fernandes 2009, severity 1.0, in linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def lab(colours: list[str], vision: str) -> np.ndarray:
    srgb = np.array([rgb_of(colour) for colour in colours]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def closest(colours: list[str], vision: str) -> float:
    points = lab(colours, vision)
    distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(2))
    return float(distance[np.triu_indices(len(colours), 1)].min())


@pytest.mark.parametrize(
    ("vision", "count", "least"),
    [("normal", 32, 20), ("protanope", 8, 16), ("deuteranope", 8, 8), ("protanope", 32, 10)],
)
def test_class_colours_stay_apart_for_every_reader(vision, count, least):
    assert closest(class_colours(count), vision) > least


def test_no_class_colour_is_near_no_data_paper_or_the_checker():
    grounds = [NO_DATA, PAPER, *CHECKER]
    for colour in class_colours(MAX_CLASSES):
        assert min(closest([colour, ground], "normal") for ground in grounds) > 15


def test_the_first_classes_keep_their_colours_when_more_are_added():
    assert class_colours(32)[:5] == class_colours(5)
    assert len(set(class_colours(32))) == 32


def test_more_classes_than_colours_repeat_rather_than_fail():
    assert class_colours(40)[32:] == class_colours(8)


def test_ndvi_runs_from_brown_over_yellow_to_green():
    brown, yellow, green = paint_ndvi(np.array([-0.2, 0.35, 0.9])).astype(int)

    assert brown[0] > brown[1] > brown[2]
    assert yellow[0] > 200
    assert yellow[1] > 200
    assert yellow[2] < 160
    assert green[1] > max(green[0], green[2])


def test_ndvi_greens_rise_and_values_beyond_the_range_take_its_ends():
    painted = paint_ndvi(np.array([-1.0, -0.2, 1.0, 1.0001]))

    assert (painted[0] == painted[1]).all()
    assert (painted[2] == painted[3]).all()


def test_no_ndvi_has_the_colour_of_no_data():
    painted = paint_ndvi(np.linspace(-1, 1, 500)).astype(int)
    grey = paint_ndvi(np.array([np.nan])).astype(int)[0]

    assert tuple(grey) == rgb_of(NO_DATA)
    assert np.abs(painted - grey).sum(1).min() > 60


def test_labels_take_the_colours_of_their_table():
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    painted = paint_labels(labels, {1: ("water", "#0000ff"), 2: ("wood", "#00ff00")})

    assert painted[0, 1].tolist() == [0, 0, 255]
    assert painted[1, 0].tolist() == [0, 255, 0]
    assert tuple(painted[0, 0]) == rgb_of(NO_DATA)
    assert tuple(painted[1, 1]) == rgb_of(IGNORED)


def test_a_value_without_a_name_is_drawn_and_named_by_its_number():
    table = complete_table({2: ("wood", "#00ff00")}, np.array([[0, 2, 7, 255]], np.uint8))

    assert list(table) == [2, 7]
    assert table[7][0] == "class 7"


def test_a_class_table_numbers_names_from_one():
    assert class_table(["a", "b"]) == {1: ("a", class_colours(2)[0]), 2: ("b", class_colours(2)[1])}


@pytest.mark.parametrize("count", [1, 2, 8])
def test_ordered_colours_are_distinct_and_begin_brown(count):
    colours = ordered_colours(count)

    assert len(set(colours)) == count
    if count > 1:
        red, green, _ = rgb_of(colours[0])
        assert red > green


@pytest.mark.parametrize("colour", ["red", "#12345", "#12345g", "123456", ""])
def test_a_colour_that_is_none_is_named(colour):
    with pytest.raises(GeoAssetsError, match="#rrggbb"):
        rgb_of(colour)


def test_importing_the_package_loads_no_drawing_library():
    code = (
        "import sys, geo_assets.previews; "
        "print([m for m in ('matplotlib', 'PIL', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
