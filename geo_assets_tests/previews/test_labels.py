"""Label pictures: classes in their colours, images rebuilt from centres."""

from __future__ import annotations

import numpy as np
import pytest

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.labels import class_masks, label_map, rebuild, rebuilt_image
from geo_assets.previews.palette import (
    NO_DATA,
    UNLABELLED,
    class_colours,
    class_table,
    paint_ndvi,
    rgb_of,
)
from geo_assets.previews.series import _ticks, ndvi_series
from geo_assets.previews.style import GAP, LABEL_HEIGHT, MARGIN, SMALL_SIZE, Sheet

TOP = Sheet.top("Labels") + LABEL_HEIGHT


@pytest.fixture
def quarters():
    labels = np.zeros((20, 20), np.uint8)
    labels[:10, 10:] = 1
    labels[10:, :10] = 2
    labels[10:, 10:] = 2
    return labels


@pytest.mark.real_data
def test_real_labels_stay_below_the_bound(aberystwyth, opened):
    data, cover = aberystwyth
    image = data[[2, 1, 0]]
    table = class_table(["forest", "grass", "urban", "water"])
    centres = np.array([image[:, cover == value].mean(axis=1) for value in range(1, 5)])

    opened(label_map(image, cover, table))
    opened(class_masks(cover, table))
    opened(rebuilt_image(image, cover, centres))


def test_the_label_map_shows_class_colours_and_no_data_at_their_places(opened, quarters, classes):
    data = np.random.default_rng(0).integers(1, 3000, (3, 20, 20), np.uint16)
    pixels = opened(label_map(data, quarters, classes))
    side = 345 // 20 * 20
    left = MARGIN + side + GAP

    assert tuple(pixels[TOP + 5, left + 5]) == rgb_of(NO_DATA)
    assert tuple(pixels[TOP + 5, left + side - 5]) == rgb_of(class_colours(2)[0])
    assert tuple(pixels[TOP + side - 5, left + 5]) == rgb_of(class_colours(2)[1])


def test_ndvi_beside_its_labels_is_drawn_in_ndvi_colours(opened, quarters, classes):
    ndvi = np.where(quarters == 1, 0.2, 0.8)
    ndvi[quarters == 0] = np.nan
    pixels = opened(label_map(ndvi, quarters, classes))

    assert tuple(pixels[TOP + 5, MARGIN + 5]) == rgb_of(NO_DATA)
    assert tuple(pixels[TOP + 5, MARGIN + 300]) == tuple(paint_ndvi(np.array(0.2)))


def test_each_mask_shows_its_class_alone(opened, quarters, classes):
    pixels = opened(class_masks(quarters, classes))
    # The first panel is 220 // 20 * 20 = 220 pixels wide.
    first = pixels[TOP : TOP + 220, MARGIN : MARGIN + 220]

    assert tuple(first[10, 10]) == rgb_of(NO_DATA)
    assert tuple(first[10, 200]) == rgb_of(class_colours(2)[0])
    assert tuple(first[200, 10]) == rgb_of(UNLABELLED)
    assert not (first == rgb_of(class_colours(2)[1])).all(axis=2).any()


@pytest.mark.parametrize("count", [2, 9, 32])
def test_masks_are_as_wide_as_their_headings(count, opened):
    labels = np.arange(count, dtype=np.uint8).reshape(1, -1) + 1
    names = [f"cluster {index + 1}, NDVI 0.123" for index in range(count)]
    pixels = opened(class_masks(labels, class_table(names, ordered=True)))
    heading = Sheet(1, 1).text_width(f"{names[0]} 100.0%", SMALL_SIZE, bold=True)
    a_row = min(count, (880 - 2 * MARGIN) // heading)
    assert pixels.shape[1] >= min(a_row, 2) * heading + 2 * MARGIN
    assert pixels.shape[1] <= 880


def test_ticks_of_a_regular_axis_are_equally_many_steps_apart():
    months = np.arange("2021-01", "2022-01", dtype="datetime64[M]").astype("datetime64[D]")
    assert [str(day) for day in _ticks(months)] == [f"2021-{m:02}-01" for m in (1, 4, 7, 10)]
    crowded = np.array(["2021-01-01", "2021-01-03", "2021-01-04", "2021-12-01"], "datetime64[D]")
    assert [str(day) for day in _ticks(crowded)] == ["2021-01-01", "2021-01-04", "2021-12-01"]


@pytest.mark.parametrize("count", [1, 5, 13, 32])
def test_any_number_of_clusters_is_drawn(count, opened):
    labels = np.random.default_rng(0).integers(0, count + 1, (60, 80)).astype(np.uint8)
    table = class_table([f"cluster {index + 1}" for index in range(count)], ordered=True)
    data = np.random.default_rng(1).random((60, 80)).astype(np.float32)

    opened(label_map(data, labels, table))
    opened(class_masks(labels, table))
    opened(rebuilt_image(data, labels, np.linspace(0, 1, count)[:, None]))


def test_large_speckled_labels_and_many_crossing_lines_still_fit_the_bound(opened):
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 33, (700, 700)).astype(np.uint8)
    table = class_table([f"a fairly long name of cluster {index + 1}" for index in range(32)])
    dates = np.datetime64("2024-01-01") + np.arange(30) * 9

    opened(label_map(rng.random((3, 700, 700)), labels, table))
    opened(class_masks(labels, table))
    opened(ndvi_series(rng.random((32, 30)), dates, table))


def test_a_rebuilt_image_holds_the_centre_of_each_pixels_cluster(quarters):
    centres = np.array([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]])
    again = rebuild(quarters, centres)

    assert again.shape == (3, 20, 20)
    assert np.isnan(again[:, quarters == 0]).all()
    for value in (1, 2):
        np.testing.assert_array_equal(
            again[:, quarters == value].T,
            np.broadcast_to(centres[value - 1], (np.count_nonzero(quarters == value), 3)),
        )


def test_the_rebuilt_ndvi_is_painted_with_the_colours_of_its_centres(opened, quarters):
    ndvi = np.random.default_rng(0).uniform(0, 1, (20, 20))
    pixels = opened(rebuilt_image(ndvi, quarters, np.array([[0.15], [0.75]]), subtitle="x"))
    side = 345 // 20 * 20
    top, left = Sheet.top("t", "x") + LABEL_HEIGHT, MARGIN + side + GAP

    assert tuple(pixels[top + 5, left + 5]) == rgb_of(NO_DATA)
    assert tuple(pixels[top + 5, left + side - 5]) == tuple(paint_ndvi(np.array(0.15)))
    assert tuple(pixels[top + side - 5, left + 5]) == tuple(paint_ndvi(np.array(0.75)))


def test_labels_without_a_labelled_pixel_say_so(opened, classes):
    nothing = np.zeros((9, 9), np.uint8)
    data = np.ones((3, 9, 9), np.uint16)

    assert opened(label_map(data, nothing, classes)).shape[0] < 200
    assert opened(class_masks(nothing, classes)).shape[0] < 200
    assert opened(rebuilt_image(data, nothing, np.ones((2, 3)))).shape[0] < 200
    assert opened(ndvi_series(np.full((2, 1), np.nan), ["2024-01-01"], classes)).shape[0] < 200


def test_centres_of_other_bands_are_refused(quarters):
    with pytest.raises(GeoAssetsError, match="2 bands for data of 3"):
        rebuilt_image(np.zeros((3, 20, 20)), quarters, np.zeros((2, 2)))


def test_each_series_is_a_line_in_its_colour(opened, classes):
    dates = np.datetime64("2024-01-01") + np.arange(0, 360, 15)
    season = np.sin(np.arange(24) / 4)
    series = np.array([0.2 + 0.1 * season, 0.6 + 0.2 * season])
    series[0, 3] = np.nan
    pixels = opened(ndvi_series(series, dates, classes))

    for colour in class_colours(2):
        line = (pixels[:, :600] == rgb_of(colour)).all(axis=2)
        assert line.any(axis=0).sum() > 150


def test_a_date_without_a_value_is_a_gap_in_its_line(opened, classes):
    dates = ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01"]
    series = np.array([[0.2, 0.3, np.nan, 0.3, 0.2], [0.6, 0.7, 0.8, 0.7, 0.6]])
    pixels = opened(ndvi_series(series, dates, classes))[:, :600]
    gaps = []
    for colour in class_colours(2):
        at = np.flatnonzero((pixels == rgb_of(colour)).all(axis=2).any(axis=0))
        gaps.append(np.diff(at).max())
    assert gaps[0] > 250  # two of four steps on 620 pixels
    assert gaps[1] < 20


def test_a_single_value_is_a_mark_that_can_be_seen(opened, classes):
    pixels = opened(ndvi_series(np.array([[0.2], [0.6]]), ["2024-01-01"], classes))[:, :600]
    for colour in class_colours(2):
        mark = (pixels == rgb_of(colour)).all(axis=2)
        assert mark.any(axis=0).sum() >= 5
        assert mark.any(axis=1).sum() >= 5


@pytest.mark.parametrize("count", [1, 2])
def test_a_series_of_hardly_any_dates_is_drawn(count, opened, classes):
    opened(ndvi_series(np.full((2, count), 0.5), ["2024-01-01", "2024-05-01"][:count], classes))


def test_series_must_fit_their_classes_and_dates(classes):
    with pytest.raises(GeoAssetsError, match=r"\(2, 3\) for 2 classes and 1 dates"):
        ndvi_series(np.zeros((2, 3)), ["2024-01-01"], classes)


def test_the_same_labels_give_the_same_bytes(quarters, classes):
    data = np.random.default_rng(0).integers(1, 3000, (3, 20, 20), np.uint16)

    assert label_map(data, quarters, classes) == label_map(data, quarters, classes)
