"""The days of a cube labelled and followed block by block, by any workers, with the same result.

NDVI of a day is labelled by the exact model of its histogram, or of that of all days; labels of one
model are followed from day to day. Series of days are in ``areas``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.histogram_kmeans import histogram_of, labels_of
from geo_assets.core.k_report import spatial_folds
from geo_assets.core.label_changes import BANDS, add_counts, change_map, count_changes
from geo_assets.products.windows import tiles_of
from geo_assets.storage.atomic import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.histogram_kmeans import HistogramKMeans
    from geo_assets.core.label_changes import ChangeCounts
    from geo_assets.core.workers import Workers
    from geo_assets.products.labels.features import NdviDays
    from geo_assets.products.windows import Window
    from geo_assets.storage.rasters.cog_blocks import Block

_EDGE = 512
"""Pixels a side of what is read at once of label rasters of all dates: a block of a COG."""

_DROP_DATE = list(BANDS).index("drop_date")


def day_histograms(cube: NdviDays, workers: Workers, *, folds: bool) -> Iterator[NDArray[np.int64]]:
    """Yield the histogram of each day of a cube: (1, 65536), or (2, 65536) of two spatial folds."""
    windows = cube.windows()
    tasks = (
        _HistogramTask(cube, day, window, folds)
        for day in range(len(cube.days))
        for window in windows
    )
    parts = iter(workers.map(_histogram, tasks))
    for _ in cube.days:
        total = next(parts).copy()
        for _ in windows[1:]:
            total += next(parts)
        yield total


def day_labels(
    cube: NdviDays, models: Sequence[HistogramKMeans | None], workers: Workers
) -> Iterator[NDArray[np.uint8] | None]:
    """Yield the labels (y, x) of each day by its model; None for a day without one."""
    windows = cube.windows()
    tasks = (
        _DayTask(cube, day, window, model)
        for day, model in enumerate(models)
        if model is not None
        for window in windows
    )
    parts = iter(workers.map(_label_day, tasks))
    for model in models:
        if model is None:
            yield None
            continue
        raster = np.empty(cube.geobox.shape.yx, np.uint8)
        for window in windows:
            raster[window.slices] = next(parts)
        yield raster


@dataclass(frozen=True)
class LabelDates:
    """Label rasters of one model on several dates, and of the series of the same pixels."""

    paths: tuple[Path, ...]
    series: Path | None
    n_clusters: int
    n_series: int

    def digest(self) -> str:
        """Return the digest of their files, which name the models that labelled them."""
        files = [*self.paths, *([] if self.series is None else [self.series])]
        lines = "".join(f"{path.stem} {sha256_of(path)}\n" for path in files)
        return hashlib.sha256(lines.encode()).hexdigest()


class FollowedArea:
    """The changes of an area's labels, told while its change map is made.

    Attributes:
        counts: Of the blocks given so far; None before the first.
        dropped: Pixels with a lasting drop among them.
        followed: Pixels that have a datum on two dates.
        shown: Every so many pixels' date of the drop (y, x), and whether they are followed.
    """

    def __init__(self, dates: LabelDates, geobox: GeoBox, step: int) -> None:
        """Begin.

        Args:
            dates: What is followed.
            geobox: Its grid.
            step: Rows and columns from one shown pixel to the next.
        """
        self._dates = dates
        self._geobox = geobox
        self._step = step
        rows, cols = (-(-size // step) for size in geobox.shape.yx)
        self.counts: ChangeCounts | None = None
        self.dropped = self.followed = 0
        self.shown = np.zeros((rows, cols), np.uint16), np.zeros((rows, cols), bool)

    def blocks(self, workers: Workers) -> Iterator[Block]:
        """Yield the blocks of the change map, once."""
        windows = tiles_of(self._geobox.shape.yx, _EDGE)
        tasks = [_ChangeTask(self._dates, self._geobox, window) for window in windows]
        made = workers.map(_follow, tasks)
        for window, (part, bands, valid) in zip(windows, made, strict=True):
            self.counts = part if self.counts is None else add_counts([self.counts, part])
            drops = bands[_DROP_DATE]
            self.dropped += int(np.count_nonzero(drops))
            self.followed += int(np.count_nonzero(valid))
            top, left = -(-window.row // self._step), -(-window.col // self._step)
            row, col = top * self._step - window.row, left * self._step - window.col
            for whole, block in zip(self.shown, (drops, valid), strict=True):
                some = block[row :: self._step, col :: self._step]
                whole[top : top + some.shape[0], left : left + some.shape[1]] = some
            yield *window.slices, bands, valid


@dataclass(frozen=True)
class _HistogramTask:
    cube: NdviDays
    day: int
    window: Window
    folds: bool


@dataclass(frozen=True)
class _DayTask:
    cube: NdviDays
    day: int
    window: Window
    model: HistogramKMeans


@dataclass(frozen=True)
class _ChangeTask:
    dates: LabelDates
    geobox: GeoBox
    window: Window


def _histogram(task: _HistogramTask) -> NDArray[np.int64]:
    values = task.cube.read(task.day, task.window)
    if not task.folds:
        return histogram_of(values, threads=1)[np.newaxis]
    rows, cols = np.ogrid[task.window.slices]
    fold = spatial_folds(rows, cols, task.cube.geobox.shape.yx)
    return np.stack([histogram_of(values[fold == here], threads=1) for here in (False, True)])


def _label_day(task: _DayTask) -> NDArray[np.uint8]:
    return labels_of(task.cube.read(task.day, task.window), task.model, threads=1)


def _follow(task: _ChangeTask) -> tuple[ChangeCounts, NDArray[np.uint16], NDArray[np.bool_]]:
    from geo_assets.storage.rasters.cog import read_window

    window = task.geobox[task.window.slices]
    labels = np.stack([read_window(path, window).data[0] for path in task.dates.paths])
    if task.dates.series is None:
        series = np.zeros(labels.shape[1:], np.uint8)
    else:
        series = read_window(task.dates.series, window).data[0]
    counts = count_changes(labels, series, task.dates.n_clusters, task.dates.n_series)
    return counts, *change_map(labels)
