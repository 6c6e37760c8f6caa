"""Resampling for display, against plain numpy on whole blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.raster import (
    as_bands,
    display_shape,
    fitted_shape,
    outlines,
    resample_labels,
    resample_values,
    validity,
)


@given(
    rows=st.integers(1, 5000),
    columns=st.integers(1, 5000),
    width=st.integers(20, 900),
    height=st.integers(20, 900),
)
@settings(max_examples=200, deadline=None)
def test_a_shape_fits_its_room_and_small_rasters_grow_by_whole_factors(
    rows, columns, width, height
):
    shown = display_shape((rows, columns), width, height)

    assert 1 <= shown[0] <= max(height, 1)
    assert 1 <= shown[1] <= max(width, 1)
    if rows <= height and columns <= width:
        assert shown[0] // rows == shown[1] // columns >= 1
        assert shown[0] % rows == shown[1] % columns == 0


def test_a_fitted_shape_fills_its_room():
    assert fitted_shape((100, 200), 300, 300) == (150, 300)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_shrinking_takes_the_mean_of_valid_cells(dtype):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 200, (2, 12, 8)).astype(dtype)
    known = rng.random((12, 8)) > 0.2
    small, seen = resample_values(data, known, (6, 4))
    weight = known.reshape(6, 2, 4, 2).sum((1, 3))
    total = np.where(known, data, 0).astype(np.float64).reshape(2, 6, 2, 4, 2).sum((2, 4))

    np.testing.assert_array_equal(seen, weight >= 2)
    np.testing.assert_allclose(small[:, seen], (total[:, seen] / weight[seen]), rtol=1e-5)


def test_what_lies_under_no_data_never_colours_its_neighbours():
    data = np.full((1, 10, 10), 5.0)
    data[:, ::2] = np.nan
    small, seen = resample_values(data, validity(data), (5, 5))

    assert seen.all()
    np.testing.assert_allclose(small, 5.0)


def test_enlarging_repeats_cells():
    data = np.arange(6, dtype=np.uint16).reshape(1, 2, 3)
    large, seen = resample_values(data, np.ones((2, 3), bool), (6, 9))

    np.testing.assert_array_equal(large[0], np.kron(data[0], np.ones((3, 3))))
    assert seen.all()


def test_labels_shrink_by_their_most_frequent_value_ties_to_the_lower():
    labels = np.array([[1, 1, 4, 3], [2, 1, 3, 4]], np.uint8)

    assert resample_labels(labels, (1, 2)).tolist() == [[1, 3]]


def test_small_polygons_stay_on_the_map_if_classes_are_favoured():
    labels = np.zeros((40, 40), np.uint8)
    labels[4:8, 4:8] = 7

    assert not resample_labels(labels, (4, 4)).any()
    assert resample_labels(labels, (4, 4), favour_classes=True)[0, 0] == 7


@given(values=st.lists(st.integers(0, 255), min_size=64, max_size=64))
@settings(max_examples=50, deadline=None)
def test_shrinking_labels_invents_no_value(values):
    labels = np.array(values, np.uint8).reshape(8, 8)

    assert set(np.unique(resample_labels(labels, (3, 5)))) <= set(values)


def test_a_very_large_raster_is_thinned_before_it_is_averaged():
    data = np.broadcast_to(np.float32(3), (1, 6000, 6000))
    small, seen = resample_values(data, np.ones((6000, 6000), bool), (10, 10))

    np.testing.assert_allclose(small, 3)
    assert seen.all()


def test_an_outline_leaves_the_inside_of_a_patch_and_the_rest_of_the_ground_free():
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 2
    grown, rim, halo = outlines(labels)

    assert rim[9, 20]
    assert rim[10, 20]
    assert not rim[15, 20]
    assert halo[8, 20]
    assert not (rim | halo)[20, 20]
    assert not (rim | halo)[5, 5]
    assert set(np.unique(grown[rim])) == {2}


def test_a_patch_that_fills_the_picture_has_no_outline():
    _, rim, halo = outlines(np.full((9, 9), 3, np.uint8))

    assert not rim.any()
    assert not halo.any()


def test_validity_joins_masks_of_either_shape_with_nan():
    data = np.zeros((2, 2, 2))
    data[1, 0, 0] = np.nan
    mask = np.ones((2, 2, 2), bool)
    mask[0, 1, 1] = False

    assert validity(data, mask).tolist() == [[False, True], [True, False]]
    assert validity(data, mask[0]).tolist() == [[False, True], [True, False]]


def test_a_mask_of_another_grid_is_refused_with_both_shapes():
    with pytest.raises(GeoAssetsError, match=r"\(3, 3\).*\(1, 2, 2\)"):
        validity(np.zeros((1, 2, 2)), np.ones((3, 3), bool))


def test_one_band_may_come_without_its_axis_but_no_other_number_of_axes():
    assert as_bands(np.zeros((4, 5))).shape == (1, 4, 5)
    with pytest.raises(GeoAssetsError, match="band, y, x"):
        as_bands(np.zeros((1, 1, 4, 5)))
