"""The weather of one day over the whole landscape: clouds and the shadows they throw.

One sky per date, shared by both tiles. What a cloud looks like is the scene's matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from geo_assets.sources.simulated.noise import enlarge, smooth_noise

if TYPE_CHECKING:
    import datetime as dt

    from numpy.typing import NDArray

THIN, MEDIUM, THICK = 0.10, 0.35, 0.65
"""Opacities from which a pixel is classified as thin cirrus, as medium and as high cloud."""
SHADED = 0.25
"""Shadow strength from which a pixel is classified as cloud shadow."""
_STEP = 4
_CLOUD_BASE_M = 900.0
_LONGEST_SHADOW_M = 900.0
_SUN_AZIMUTH_DEGREES = 163.0
_LATITUDE_DEGREES = 49.45


@dataclass(frozen=True)
class Sky:
    """Clouds over the master lattice, arrays (y, x), 0 to 1."""

    opacity: NDArray[np.float32]
    shadow: NDArray[np.float32]


def sky_of_the_day(seed: int, date: dt.date, cover: float, shape: tuple[int, int]) -> Sky | None:
    """Return the clouds of a date over a lattice of ``shape``; None under a blue sky."""
    if cover <= 0:
        return None
    generator = np.random.default_rng([seed, 2, date.toordinal()])
    coarse = (-(-shape[0] // _STEP) + 2, -(-shape[1] // _STEP) + 2)
    field = (
        0.75 * smooth_noise(generator, coarse, 14)
        + 0.55 * smooth_noise(generator, coarse, 5)
        + 0.22 * smooth_noise(generator, coarse, 1.6)
    )
    # Overcast: even the thinnest place is a cloud.
    threshold = field.min() - 0.6 if cover >= 1 else np.quantile(field, 1 - cover)
    opacity = np.clip((field - threshold) / 1.2 + THIN, 0, 1).astype(np.float32)
    if cover >= 1:
        opacity = np.maximum(opacity, np.float32(THICK))
    shadow = ndimage.shift(opacity, _shadow_offset(date), order=1, mode="nearest")
    # What is too thin to be classified stays in the picture, weakly, as in real products.
    opacity[opacity < THIN] *= 0.3
    shadow[shadow < SHADED] *= 0.3
    return Sky(enlarge(opacity, _STEP, shape), enlarge(shadow, _STEP, shape))


def sun_elevation(date: dt.date) -> float:
    """Return the sun's height in degrees at the overpass (Cooper 1969 for the declination)."""
    day = date.timetuple().tm_yday
    declination = math.radians(23.45 * math.sin(2 * math.pi * (284 + day) / 365))
    latitude = math.radians(_LATITUDE_DEGREES)
    hour_angle = math.radians(_SUN_AZIMUTH_DEGREES - 180)
    sine = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(
        declination
    ) * math.cos(hour_angle)
    return math.degrees(math.asin(sine))


def _shadow_offset(date: dt.date) -> tuple[float, float]:
    """Return rows and columns (coarse) from a cloud to its shadow: away from the sun."""
    length = min(_CLOUD_BASE_M / math.tan(math.radians(sun_elevation(date))), _LONGEST_SHADOW_M)
    pixels = length / 10 / _STEP
    away = math.radians(_SUN_AZIMUTH_DEGREES - 180)
    return -pixels * math.cos(away), pixels * math.sin(away)
