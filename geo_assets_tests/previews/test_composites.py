"""Composite pictures: real scenes below the bound, labels where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.composites import band_panels, rgb_with_labels
from geo_assets.previews.palette import CHECKER, IGNORED_OUTLINE, class_colours, rgb_of
from geo_assets.previews.style import MARGIN, Sheet

TOP = Sheet.top("Composite")


@pytest.mark.real_data
def test_a_real_scene_with_labels_stays_below_the_bound(aberystwyth, opened):
    data, cover = aberystwyth
    labels = np.where(cover == 4, cover, 0).astype(np.uint8)
    labels[:200, 600:] = 255

    pixels = opened(rgb_with_labels(data[[2, 1, 0]], labels, {4: ("water", "#0072b2")}))

    assert (pixels == rgb_of("#0072b2")).all(axis=2).sum() > 200
    assert (pixels == rgb_of(IGNORED_OUTLINE)).all(axis=2).sum() > 200


@pytest.mark.real_data
@pytest.mark.parametrize("count", [1, 4, 10, 13])
def test_all_real_bands_of_a_composite_stay_below_the_bound(aberystwyth, opened, count):
    data, _ = aberystwyth
    data = np.concatenate([data, data])[:count]

    opened(band_panels(data, [f"B{band:02d}" for band in range(count)]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 3])
def test_every_type_of_composite_is_drawn_and_no_data_is_a_checker(dtype, bands, opened):
    data = np.tile(np.arange(30, dtype=dtype), (bands, 30, 1)) + 1
    valid = np.ones((30, 30), bool)
    valid[:15] = False
    pixels = opened(rgb_with_labels(data, valid=valid))

    # 30 cells fit 12 times into 360 pixels.
    assert tuple(pixels[TOP, MARGIN]) == rgb_of(CHECKER[0])
    assert tuple(pixels[TOP, MARGIN + 6]) == rgb_of(CHECKER[1])
    assert tuple(pixels[TOP + 200, MARGIN]) == (0, 0, 0)
    assert tuple(pixels[TOP + 359, MARGIN + 359]) == (255, 255, 255)


def test_the_outline_of_a_label_has_its_class_colour_and_lies_at_its_edge(opened, classes):
    data = np.full((3, 36, 36), 500, np.uint16)
    labels = np.zeros((36, 36), np.uint8)
    labels[12:24, 12:24] = 2
    pixels = opened(rgb_with_labels(data, labels, classes))

    assert tuple(pixels[TOP + 120, MARGIN + 180]) == rgb_of(class_colours(2)[1])
    assert tuple(pixels[TOP + 180, MARGIN + 180]) == (128, 128, 128) or (
        pixels[TOP + 180, MARGIN + 180].std() == 0
    )
    assert tuple(pixels[TOP + 180, MARGIN + 180]) == tuple(pixels[TOP + 20, MARGIN + 20])


def test_a_composite_without_a_datum_says_so(opened):
    nothing = np.zeros((3, 8, 8), np.uint16)
    assert opened(rgb_with_labels(nothing, valid=np.zeros((8, 8), bool))).shape[0] < 200
    assert opened(band_panels(nothing, list("abc"), np.zeros((3, 8, 8), bool))).shape[0] < 200
    assert opened(rgb_with_labels(np.zeros((3, 0, 0), np.uint16))).shape[0] < 200


def test_a_composite_without_labels_names_none(opened):
    labels = np.zeros((20, 20), np.uint8)

    opened(rgb_with_labels(np.ones((3, 20, 20), np.float32), labels))


def test_a_band_without_data_does_not_hide_the_others(opened):
    data = np.tile(np.arange(40.0), (2, 40, 1))
    data[1] = np.nan
    pixels = opened(band_panels(data, ["red", "nir"]))

    assert (pixels == rgb_of(CHECKER[0])).all(axis=2).any()
    assert (pixels == 255).all(axis=2).any()


def test_bands_and_names_must_be_equally_many():
    with pytest.raises(GeoAssetsError, match="2 band names for 3 bands"):
        band_panels(np.zeros((3, 4, 4)), ["red", "green"])


@pytest.mark.parametrize("shape", [(3, 1, 400), (3, 400, 1), (3, 2000, 30), (3, 1, 1)])
def test_scenes_of_odd_proportions_are_drawn(shape, opened):
    data = np.random.default_rng(0).integers(1, 3000, shape, np.uint16)

    opened(rgb_with_labels(data, np.ones(shape[1:], np.uint8)))
    opened(band_panels(data, ["a", "b", "c"]))


def test_the_same_composite_gives_the_same_bytes(classes):
    data = np.random.default_rng(0).integers(1, 3000, (3, 150, 170), np.uint16)
    labels = (np.indices((150, 170)).sum(0) // 60 % 3).astype(np.uint8)

    assert rgb_with_labels(data, labels, classes) == rgb_with_labels(data, labels, classes)
