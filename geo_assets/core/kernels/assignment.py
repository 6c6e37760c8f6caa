"""The nearest centre of every pixel, and the sums from which centres move.

Pixels lie along the last axis and are taken in strips that stay in the cache: inner loops run over
the pixels of a strip, feature by feature, so that they are vectorised and every distance is summed
in the same order wherever strips begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIP = 256
"""Pixels of a strip: with a few dozen features they fill the first level of the cache."""


@kernel
def label_pixels(  # noqa: PLR0917  # positional, as compiled functions are called
    features: NDArray[np.float32],
    valid: NDArray[np.bool_],
    offsets: NDArray[np.float32],
    scales: NDArray[np.float32],
    centers: NDArray[np.float32],
    ignore: bool,
    shared: NDArray[np.float32],
    place: int,
    start: int,
    stop: int,
    labels: NDArray[np.uint8],
    inertias: NDArray[np.float64],
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Label the pixels from start to stop.

    Args:
        features: (feature, n).
        valid: (n,), True = to be labelled.
        offsets: (feature,), subtracted before the division by the scales.
        scales: (feature,).
        centers: (K, feature), of scaled features.
        ignore: Whether NaN features are left out of distances; a pixel of which no feature is
            known is 0. Else every pixel with NaN is 0. One with an infinite feature always is.
        shared: As ``nearest_shared`` has it, where distances over some of the features are scaled
            to all before they are compared; of shape (0, 0): afterwards.
        place: How many of the last features are the place, for ``nearest_shared``.
        start: Multiple of STRIP.
        stop: The same, or n.
        labels: (n,), written: 0 where not valid.
        inertias: (strips of n, 2), written: sums of squared distances of each strip, over the known
            features, and those scaled to all features; both are the latter with ``shared``.
        sums: (K, feature), added to: scaled features by label; of shape (0, 0) if not wanted.
        counts: The same: how many they are.
    """
    n_features = features.shape[0]
    scaled_first = shared.shape[0] > 0
    hollow = ignore and scaled_first and (shared == 0).any()
    scaled = np.zeros((n_features, STRIP), np.float32)
    known = np.zeros((n_features, STRIP), np.float32)
    n_known = np.zeros(STRIP, np.float32)
    distance, least = np.zeros(STRIP, np.float32), np.zeros(STRIP, np.float32)
    found = np.zeros(STRIP, np.int32)
    for first in range(start, stop, STRIP):
        width = min(STRIP, stop - first)
        inside = valid[first : first + width]
        out = labels[first : first + width]
        near = 0.0
        wide = 0.0
        if inside.any():
            for feature in range(n_features):
                row, scaled_row = features[feature, first : first + width], scaled[feature]
                offset, scale = offsets[feature], scales[feature]
                for pixel in range(width):
                    scaled_row[pixel] = (row[pixel] - offset) / scale
            nearest_centers(scaled, width, centers, distance, least, found)
            partly = ignore and (hollow or (found[:width] == 0).any())
            if partly:
                mask_missing(scaled, width, known, n_known)
                _nearest_in_part(
                    scaled, known, width, centers, shared, place, distance, least, found
                )
            for pixel in range(width):
                if not inside[pixel] or (partly and n_known[pixel] == 0):
                    found[pixel] = 0
                elif found[pixel] > 0:
                    square = np.float64(least[pixel])
                    near += square
                    in_part = partly and not scaled_first
                    wide += square * (n_features / n_known[pixel]) if in_part else square
            if sums.shape[0] > 0:
                add_strip(scaled, known, partly, width, found, sums, counts)
            for pixel in range(width):
                out[pixel] = found[pixel]
        else:
            out[:] = 0
        inertias[first // STRIP, 0] = near
        inertias[first // STRIP, 1] = wide


@kernel
def nearest_centers(  # noqa: PLR0917
    scaled: NDArray[np.float32],
    width: int,
    centers: NDArray[np.float32],
    distance: NDArray[np.float32],
    least: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> None:
    """Write the label (from 1) and squared distance of each pixel's nearest centre in a strip.

    Of equally near centres the lower label; 0 where a distance is NaN or infinite. Four features
    are added at a time, one after the other: a quarter of the loads and stores, the same sum.

    Args:
        scaled: (feature, STRIP).
        width: Pixels of the strip.
        centers: (K, feature).
        distance: (STRIP,), room to work in.
        least: (STRIP,), written.
        labels: (STRIP,), written.
    """
    least[:width] = np.inf
    labels[:width] = 0
    fours = centers.shape[1] - centers.shape[1] % 4
    for center in range(centers.shape[0]):
        distance[:width] = 0
        for feature in range(0, fours, 4):
            a, b, c, d = centers[center, feature : feature + 4]
            row_a, row_b = scaled[feature], scaled[feature + 1]
            row_c, row_d = scaled[feature + 2], scaled[feature + 3]
            for pixel in range(width):
                to_a, to_b = row_a[pixel] - a, row_b[pixel] - b
                to_c, to_d = row_c[pixel] - c, row_d[pixel] - d
                two = (distance[pixel] + to_a * to_a) + to_b * to_b
                distance[pixel] = (two + to_c * to_c) + to_d * to_d
        for feature in range(fours, centers.shape[1]):
            row, value = scaled[feature], centers[center, feature]
            for pixel in range(width):
                difference = row[pixel] - value
                distance[pixel] += difference * difference
        _keep_nearer(width, center, distance, least, labels)


@kernel
def nearest_known(  # noqa: PLR0917
    scaled: NDArray[np.float32],
    known: NDArray[np.float32],
    width: int,
    centers: NDArray[np.float32],
    distance: NDArray[np.float32],
    least: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> None:
    """Do as ``nearest_centers``, with distances over the known features alone.

    ``scaled`` and ``known`` are those of ``mask_missing``. A pixel of which every feature is known
    gets the very same numbers as there.
    """
    least[:width] = np.inf
    labels[:width] = 0
    for center in range(centers.shape[0]):
        distance[:width] = 0
        for feature in range(centers.shape[1]):
            row, known_row, value = scaled[feature], known[feature], centers[center, feature]
            for pixel in range(width):
                difference = (row[pixel] - value) * known_row[pixel]
                distance[pixel] += difference * difference
        _keep_nearer(width, center, distance, least, labels)


@kernel
def nearest_shared(  # noqa: PLR0917
    scaled: NDArray[np.float32],
    known: NDArray[np.float32],
    width: int,
    centers: NDArray[np.float32],
    shared: NDArray[np.float32],
    place: int,
    distance: NDArray[np.float32],
    least: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> None:
    """Do as ``nearest_known``, each distance scaled to all values before it is compared.

    Values are all features but the place: the last ones, which are always known and are added
    after the scaling. A centre that has no value in common with a pixel is not near it.

    Args:
        scaled: (feature, STRIP), of ``mask_missing``.
        known: The same: 1, or 0 where a feature is missing.
        width: Pixels of the strip.
        centers: (K, feature), all finite.
        shared: (K, feature), 1, or 0 where a centre says nothing of a feature.
        place: How many of the last features are the place.
        distance: (STRIP,), room to work in.
        least: (STRIP,), written.
        labels: (STRIP,), written.
    """
    least[:width] = np.inf
    labels[:width] = 0
    common = np.zeros(STRIP, np.float32)
    values = centers.shape[1] - place
    for center in range(centers.shape[0]):
        distance[:width] = 0
        common[:width] = 0
        for feature in range(values):
            row, known_row = scaled[feature], known[feature]
            value, there = centers[center, feature], shared[center, feature]
            for pixel in range(width):
                both = known_row[pixel] * there
                # What is infinite is NaN times 0, so that no centre is near.
                difference = (row[pixel] - value) * both
                distance[pixel] += difference * difference
                common[pixel] += both
        for pixel in range(width):
            # Nothing in common: 0 times infinite, which is NaN and never nearer.
            distance[pixel] *= np.float32(values) / common[pixel]
        for feature in range(values, centers.shape[1]):
            row, value = scaled[feature], centers[center, feature]
            for pixel in range(width):
                difference = row[pixel] - value
                distance[pixel] += difference * difference
        _keep_nearer(width, center, distance, least, labels)


@kernel
def mask_missing(
    scaled: NDArray[np.float32],
    width: int,
    known: NDArray[np.float32],
    n_known: NDArray[np.float32],
) -> None:
    """Put 0 where a strip's features are NaN, 1 and 0 into ``known``, and count the known ones."""
    n_known[:width] = 0
    for feature in range(scaled.shape[0]):
        row, known_row = scaled[feature], known[feature]
        for pixel in range(width):
            there = not np.isnan(row[pixel])
            row[pixel] = row[pixel] if there else np.float32(0)
            known_row[pixel] = np.float32(1) if there else np.float32(0)
            n_known[pixel] += known_row[pixel]


@kernel
def add_strip(  # noqa: PLR0917
    scaled: NDArray[np.float32],
    known: NDArray[np.float32],
    partly: bool,
    width: int,
    labels: NDArray[np.int32],
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Add a strip's features to the sums (K, feature) of their labels; label 0 is left out."""
    members = np.zeros(sums.shape[0] + 1, np.int64)
    for pixel in range(width):
        label = labels[pixel]
        members[label] += 1
        if label == 0:
            continue
        center_sums = sums[label - 1]
        for feature in range(scaled.shape[0]):
            center_sums[feature] += np.float64(scaled[feature, pixel])
        if partly:
            for feature in range(scaled.shape[0]):
                counts[label - 1, feature] += np.int64(known[feature, pixel])
    if not partly:
        for center in range(sums.shape[0]):
            counts[center] += members[center + 1]


@kernel
def _nearest_in_part(  # noqa: PLR0917
    scaled: NDArray[np.float32],
    known: NDArray[np.float32],
    width: int,
    centers: NDArray[np.float32],
    shared: NDArray[np.float32],
    place: int,
    distance: NDArray[np.float32],
    least: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> None:
    """Do as ``nearest_shared`` where there is ``shared``, else as ``nearest_known``."""
    if shared.shape[0] > 0:
        nearest_shared(scaled, known, width, centers, shared, place, distance, least, labels)
    else:
        nearest_known(scaled, known, width, centers, distance, least, labels)


@kernel
def _keep_nearer(
    width: int,
    center: int,
    distance: NDArray[np.float32],
    least: NDArray[np.float32],
    labels: NDArray[np.int32],
) -> None:
    label = np.int32(center + 1)
    for pixel in range(width):
        nearer = distance[pixel] < least[pixel]
        least[pixel] = distance[pixel] if nearer else least[pixel]
        labels[pixel] = label if nearer else labels[pixel]
