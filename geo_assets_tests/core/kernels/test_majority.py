from __future__ import annotations

import numpy as np

from geo_assets.core.kernels.majority import majority_rows


def test_a_strip_is_written_and_nothing_else():
    labels = np.ones((9, 5), np.uint8)
    labels[:, 2] = 2
    smoothed = np.full(labels.shape, 7, np.uint8)
    majority_rows(labels, np.array([0, 1, 0]), (3, 6), 2, smoothed)
    assert (smoothed[:3] == 7).all()
    assert (smoothed[6:] == 7).all()
    # Of a plus of five pixels, three are in the column of twos, two in that of ones.
    assert smoothed[3:6].tolist() == [[1, 1, 2, 1, 1]] * 3


def test_a_neighbourhood_wider_than_the_image_counts_what_is_there():
    labels = np.array([[1, 2, 2]], np.uint8)
    smoothed = np.zeros_like(labels)
    majority_rows(labels, np.full(21, 10), (0, 1), 2, smoothed)
    assert smoothed.tolist() == [[2, 2, 2]]
