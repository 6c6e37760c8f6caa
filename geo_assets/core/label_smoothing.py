"""Smoothing of labels: each pixel takes the label that most of its neighbourhood has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.workers import Threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP = 256
"""Rows that a thread smooths at once."""


def smooth_labels(
    labels: NDArray[np.uint8], radius: int, threads: int | None = None
) -> NDArray[np.uint8]:
    """Return the majority label of the disc around each labelled pixel.

    Pixels without label (0) have no vote and get no label: smoothing neither fills no-data nor
    spreads it. Of equally frequent labels the pixel's own is kept; if it is not among them, the
    lower one is taken.

    Args:
        labels: (y, x) uint8, 0 = no data.
        radius: Radius of the disc in pixels, its rim included; 0 changes nothing.
        threads: How many; None: one for each processor.

    Returns:
        (y, x) uint8, 0 exactly where ``labels`` is.
    """
    if radius == 0:
        return labels.copy()
    from geo_assets.core.kernels.majority import majority_rows

    steps = np.arange(-radius, radius + 1)
    half_widths = np.floor(np.sqrt(radius**2 - steps**2)).astype(np.int64)
    whole = np.ascontiguousarray(labels)
    smoothed = np.zeros_like(whole)
    highest = int(whole.max(initial=0))

    def smooth(top: int) -> None:
        bottom = min(top + _STRIP, len(whole))
        majority_rows(whole, half_widths, (top, bottom), highest, smoothed)

    for _ in Threads(threads).map(smooth, range(0, len(whole), _STRIP)):
        pass
    return smoothed
