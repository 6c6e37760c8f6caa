"""An area sampled and labelled block by block, by any workers, with the same result.

Two passes: a sample of every block is drawn, then, with a model fitted to it, every block is
labelled. Nothing larger than the raster of labels and a few blocks is held. Labels of single days
are in ``days``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.k_report import spatial_folds
from geo_assets.core.pixel_kmeans import PixelKMeans, label_block
from geo_assets.core.sampling import Sample, block_sample, merge_samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geo_assets.core.workers import Workers
    from geo_assets.products.labels.features import AreaFeatures
    from geo_assets.products.windows import Window


@dataclass(frozen=True, eq=False)
class AreaSample:
    """A spread sample of an area's pixels."""

    sample: Sample
    valid: int
    """Pixels of the area that are to be labelled."""


@dataclass(frozen=True, eq=False)
class AreaLabels:
    """The labels of an area, and what was met on the way."""

    raster: NDArray[np.uint8]
    """(y, x), 0 = no data."""
    inertia: float
    """Sum of squared scaled distances of all labelled pixels to their centres."""
    known: int
    """Values of all features that are not missing."""
    filled: int
    held: int

    @property
    def filled_share(self) -> float:
        """Share of the values that were filled, of all that are not missing."""
        return self.filled / max(self.known, 1)

    @property
    def held_share(self) -> float:
        """Share of the values that repeat the nearest one in time."""
        return self.held / max(self.known, 1)


def sample_area(features: AreaFeatures, workers: Workers, *, size: int, seed: int) -> AreaSample:
    """Draw a seeded sample of an area, spread over it, whatever its blocks.

    Args:
        features: The area.
        workers: Who read the blocks.
        size: Pixels to draw.
        seed: Seed.
    """
    tasks = [_SampleTask(features, window, size, seed) for window in features.windows()]
    merged: Sample | None = None
    valid = 0
    for sample, count in workers.map(_sample, tasks):
        # One after the other: the samples of all blocks of a scene would fill the memory.
        merged = sample if merged is None else merge_samples([merged, sample], size)
        valid += count
    assert merged is not None  # noqa: S101  # a grid has at least one block
    return AreaSample(merged, valid)


def label_area(features: AreaFeatures, model: PixelKMeans, workers: Workers) -> AreaLabels:
    """Return the label of every pixel of an area."""
    windows = features.windows()
    raster = np.zeros(features.geobox.shape.yx, np.uint8)
    inertia, totals = 0.0, np.zeros(3, np.int64)
    tasks = [_LabelTask(features, window, model) for window in windows]
    for window, (labels, part, counts) in zip(windows, workers.map(_label, tasks), strict=True):
        raster[window.slices] = labels
        inertia += part
        totals += counts
    return AreaLabels(raster, inertia, *(int(total) for total in totals))


def pooled_sample(
    areas: Mapping[str, AreaFeatures], samples: Mapping[str, AreaSample], size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the sample (n, feature) of areas together, and the spatial fold (n,) of each pixel.

    Each area gives pixels by its share of the valid ones: the beginning of its sample.
    """
    total = max(sum(samples[name].valid for name in areas), 1)
    values, folds = [], []
    for name, features in areas.items():
        sample = samples[name].sample
        count = min(len(sample.values), -(-size * samples[name].valid // total))
        values.append(sample.values[:count])
        folds.append(
            spatial_folds(sample.rows[:count], sample.cols[:count], features.geobox.shape.yx)
        )
    return np.concatenate(values), np.concatenate(folds)


@dataclass(frozen=True)
class _SampleTask:
    features: AreaFeatures
    window: Window
    size: int
    seed: int


@dataclass(frozen=True)
class _LabelTask:
    features: AreaFeatures
    window: Window
    model: PixelKMeans


def _sample(task: _SampleTask) -> tuple[Sample, int]:
    block = task.features.read(task.window)
    sample = block_sample(
        block.values,
        block.valid,
        origin=(task.window.row, task.window.col),
        shape=task.features.geobox.shape.yx,
        size=task.size,
        seed=task.seed,
    )
    return sample, int(np.count_nonzero(block.valid))


def _label(task: _LabelTask) -> tuple[NDArray[np.uint8], float, NDArray[np.int64]]:
    block = task.features.read(task.window)
    labels, inertia = label_block(task.model, block.values, block.valid)
    return labels, inertia, np.array([block.known, block.filled, block.held])
