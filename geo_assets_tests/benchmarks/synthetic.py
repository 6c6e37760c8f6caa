"""Seeded landscapes for the benchmarks: parcels, seasons, speckle and clouds.

Values spread and gaps cluster as in real scenes, which decides how fast sorting, clustering and
compression are; nothing else about them is meant to be real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

MISSING = -32768
CLASSES = 6

_NDVI_LOW = np.array([-0.30, 0.05, 0.15, 0.35, 0.25, 0.60])
_NDVI_RISE = np.array([0.05, 0.05, 0.10, 0.25, 0.55, 0.25])


def days(dates: int) -> NDArray[np.datetime64]:
    """Return dates spread evenly over a year: (time,) datetime64[ns]."""
    offsets = (np.arange(dates) * 365 // dates).astype("timedelta64[D]")
    return (np.datetime64("2024-01-01") + offsets).astype("datetime64[ns]")


def grid(side: int) -> GeoBox:
    """Return a square grid of 10 m pixels."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    return GeoBox((side, side), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")


def parcels(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return land cover in parcels of about 40 pixels: (y, x) uint8, 0 to 5."""
    count = max(side // 40, 2)
    classes = rng.integers(0, CLASSES, (count, count), dtype=np.uint8)
    rows, cols = (np.sort(rng.integers(0, count, side)) for _ in range(2))
    return classes[rows][:, cols]


def clouds(side: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return patches of about 60 pixels that cover a share of the image: (y, x) bool."""
    count = side // 60 + 3
    coarse = rng.standard_normal((count, count), dtype=np.float32)
    smooth = coarse[:-1, :-1] + coarse[1:, :-1] + coarse[:-1, 1:] + coarse[1:, 1:]
    places = np.arange(side) // 60
    covered: NDArray[np.bool_] = smooth > np.quantile(smooth, 1 - share)
    return covered[places][:, places]


def ndvi_images(side: int, dates: int, missing: float, seed: int) -> Iterator[NDArray[np.int16]]:
    """Yield NDVI images of a year in steps of 1e-4: (y, x) int16, -32768 where missing."""
    rng = np.random.default_rng(seed)
    cover = parcels(side, rng)
    for date in range(dates):
        season = np.sin(np.pi * date / max(dates - 1, 1))
        means = (_NDVI_LOW + _NDVI_RISE * season).astype(np.float32)
        image = means[cover] + np.float32(0.04) * rng.standard_normal((side, side), np.float32)
        steps = np.rint(np.clip(image, -1, 1) * 10_000).astype(np.int16)
        steps[clouds(side, missing, rng)] = MISSING
        yield steps


def reflectance_images(
    side: int, dates: int, missing: float, seed: int
) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.bool_]]]:
    """Yield images of one band, 0 where missing, and their validity: (y, x) uint16 and bool."""
    rng = np.random.default_rng(seed)
    means = np.array([400, 2500, 1800, 1100, 900, 500], np.float32)[parcels(side, rng)]
    for _ in range(dates):
        speckle = np.float32(150) * rng.standard_normal((side, side), np.float32)
        image = np.clip(means + speckle, 1, 10_000).astype(np.uint16)
        valid = ~clouds(side, missing, rng)
        image[~valid] = 0
        yield image, valid
