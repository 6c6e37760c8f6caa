"""Following clusters through time: counts of changes, lasting drops, agreement of two labellings.

Labels of all dates come from one model, so that a label means the same on each. Counts add up over
blocks of an area; which files hold the labels is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LASTING = 0.5
"""Least share of the variance of a pixel's labels that its lasting drop explains."""

BANDS = {
    "changes": "Times that the label differs from that of the last date with a datum",
    "drop_date": "Number (from 1) of the first date after the greatest lasting drop; 0 = none",
    "from_label": "Mean label before the drop, rounded half up; 0 = no drop",
    "to_label": "Mean label from the drop on, rounded half up; 0 = no drop",
}
"""The bands of a change map."""


@dataclass(frozen=True, eq=False)
class ChangeCounts:
    """Pixels of an area by their labels; counts of its parts can be added.

    With D dates, K labels and T labels of the series (temporal labels).

    Attributes:
        successive: (D - 1, K, K) int64, from each date to the next, of pixels with a datum on both.
        observed: (K, K) int64, from each date with a datum of a pixel to its next one, whatever
            lies between.
        first_last: (K, K) int64, from the first to the last date with a datum of a pixel that has
            two.
        areas: (D, K + 1) int64, pixels of each label on each date; column 0 = no data.
        with_series: (D, K, T) int64, pixels with both labels.
    """

    successive: NDArray[np.int64]
    observed: NDArray[np.int64]
    first_last: NDArray[np.int64]
    areas: NDArray[np.int64]
    with_series: NDArray[np.int64]


def count_changes(
    labels: NDArray[np.uint8], series: NDArray[np.uint8], n_clusters: int, n_series: int
) -> ChangeCounts:
    """Count what becomes of each label.

    Args:
        labels: (date, y, x) uint8, 0 = no data, of one model for all dates.
        series: (y, x) uint8 labels of the same pixels' series; 0 = none.
        n_clusters: K of ``labels``.
        n_series: T of ``series``, may be 0.
    """
    dates = len(labels)
    successive = np.zeros((max(dates - 1, 0), n_clusters, n_clusters), np.int64)
    observed = np.zeros((n_clusters, n_clusters), np.int64)
    areas = np.zeros((dates, n_clusters + 1), np.int64)
    with_series = np.zeros((dates, n_clusters, n_series), np.int64)
    first = np.zeros(labels.shape[1:], np.uint8)
    last = np.zeros(labels.shape[1:], np.uint8)
    for number, now in enumerate(labels):
        areas[number] = np.bincount(now.ravel(), minlength=n_clusters + 1)
        if number:
            successive[number - 1] = _pairs(labels[number - 1], now, (n_clusters, n_clusters))
        observed += _pairs(last, now, (n_clusters, n_clusters))
        with_series[number] = _pairs(now, series, (n_clusters, n_series))
        np.copyto(first, now, where=first == 0)
        np.copyto(last, now, where=now > 0)
    twice = np.count_nonzero(labels, axis=0) > 1
    first_last = _pairs(np.where(twice, first, 0), last, (n_clusters, n_clusters))
    return ChangeCounts(successive, observed, first_last, areas, with_series)


def add_counts(parts: Iterable[ChangeCounts]) -> ChangeCounts:
    """Return the counts of an area from those of its parts, at least one."""
    total, *others = parts
    names = [field.name for field in fields(ChangeCounts)]
    sums = {name: getattr(total, name).copy() for name in names}
    for part in others:
        for name in names:
            sums[name] += getattr(part, name)
    return ChangeCounts(**sums)


def change_map(labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Return how often labels change, and where and when they drop for good.

    A lasting drop parts a pixel's dates in two: it is the date that fits the labels best by one
    mean before it and a lower one from it on (least squares, the first of equally good dates). It
    counts if it explains half of the variance of the labels and lowers their rounded mean. Halves
    are rounded up, so that a drop does not depend on which labels these are, but on their
    differences. Nothing more is asked of what follows the split: labels may rise again at the end.

    Args:
        labels: (date, y, x) uint8, 0 = no data, of one model for all dates, ordered.

    Returns:
        (4, y, x) uint16 with the bands of ``BANDS``; and (y, x) bool, where a pixel has a datum on
        at least two dates. Elsewhere all bands are 0.
    """
    # Date by date: no array of all dates is held beside the labels.
    count = np.zeros(labels.shape[1:], np.int32)
    squares = np.zeros(labels.shape[1:], np.int64)
    for now in labels:
        count += now > 0
        squares += now.astype(np.int64) ** 2
    total = labels.sum(axis=0, dtype=np.int32)
    seen = np.zeros_like(count)
    summed = np.zeros_like(count)
    last = np.zeros_like(count)
    changes = np.zeros_like(count)
    best = np.zeros(count.shape)
    drop, before, after = np.zeros_like(count), np.zeros(count.shape), np.zeros(count.shape)
    for number, now in enumerate(labels):
        here = now > 0
        changes += here & (last > 0) & (now != last)
        rest = count - seen
        # In whole numbers: (mean before - mean after) x seen x rest.
        fall = summed.astype(np.int64) * rest - (total - summed).astype(np.int64) * seen
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(
                here & (seen > 0) & (fall > 0), fall.astype(np.float64) ** 2 / (seen * rest), 0
            )
            better = gain > best
            np.copyto(before, summed / seen, where=better)
            np.copyto(after, (total - summed) / rest, where=better)
        best = np.where(better, gain, best)
        drop[better] = number + 1
        seen += here
        summed += now
        np.copyto(last, now, where=here)
    variance = squares * count - total.astype(np.int64) ** 2
    # Not to the nearest even number, to which 3.5 and 2.5 fall by two, 2.5 and 1.5 by none.
    before, after = np.floor(before + 0.5), np.floor(after + 0.5)
    lasting = (best >= LASTING * variance) & (best > 0) & (before > after)
    bands = np.stack(
        [
            changes,
            np.where(lasting, drop, 0),
            np.where(lasting, before, 0),
            np.where(lasting, after, 0),
        ]
    )
    return bands.astype(np.uint16), count >= 2


def adjusted_rand(table: NDArray[np.int64]) -> float | None:
    """Return the adjusted Rand index of two labellings from their contingency table.

    1 = the same partition, 0 = what chance gives (Hubert and Arabie 1985,
    doi:10.1007/BF01908075); None of fewer than two pixels.
    """
    # Python's integers: products of pair counts pass 64 bits.
    both = sum(_choose_two(int(cell)) for cell in table.ravel())
    rows = sum(_choose_two(int(cell)) for cell in table.sum(axis=1))
    cols = sum(_choose_two(int(cell)) for cell in table.sum(axis=0))
    pairs = _choose_two(int(table.sum()))
    if pairs == 0:
        return None
    expected, most = rows * cols / pairs, (rows + cols) / 2
    # Two labellings of one cluster each, or of single pixels, are the same.
    return 1.0 if most == expected else (both - expected) / (most - expected)


def normalized_mutual_information(table: NDArray[np.int64]) -> float | None:
    """Return the mutual information of two labellings over the mean of their entropies.

    Of the contingency table; 0 to 1 (Strehl and Ghosh 2002, with the arithmetic mean, as
    scikit-learn has it by default); None without a pixel.
    """
    count = int(table.sum())
    if count == 0:
        return None
    share = table / count
    rows, cols = share.sum(axis=1), share.sum(axis=0)
    known = share > 0
    mutual = float((share[known] * np.log(share[known] / np.outer(rows, cols)[known])).sum())
    entropy = (_entropy(rows) + _entropy(cols)) / 2
    if np.count_nonzero(rows) == np.count_nonzero(cols) == 1:
        return 1.0
    # Of equal labellings rounding may leave the last digit above 1.
    return min(max(mutual, 0.0) / entropy, 1.0)


def _pairs(
    one: NDArray[np.uint8], other: NDArray[np.uint8], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Count pixels by both labels (from 1), where both have one."""
    known = (one > 0) & (other > 0)
    numbers = (one[known].astype(np.intp) - 1) * shape[1] + other[known] - 1
    return np.bincount(numbers, minlength=shape[0] * shape[1]).reshape(shape)


def _choose_two(count: int) -> int:
    return count * (count - 1) // 2


def _entropy(shares: NDArray[np.float64]) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())
