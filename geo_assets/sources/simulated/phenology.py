"""How surfaces change over the year: the fractions of green, dry and flowering cover per stand.

A *stand* is a piece of land of one cover with its own sowing date, vigour and soil. Curves are
double logistic (Beck et al. 2006, doi:10.1016/j.rse.2005.10.021), fractions of the ground, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.sources.simulated.covers import Cover
from geo_assets.sources.simulated.spectra import ENDMEMBERS

if TYPE_CHECKING:
    import datetime as dt

    from numpy.typing import NDArray

_GREEN_SURFACE = {
    Cover.WATER: "water",
    Cover.BUILT_UP: "grass",
    Cover.BARE_SOIL: "grass",
    Cover.GRASS: "grass",
    Cover.FOREST: "forest",
}
_BARE_SURFACE = {
    Cover.WATER: "water",
    Cover.BUILT_UP: "sealed",
    Cover.BARE_SOIL: "pale_soil",
    Cover.FOREST: "forest_floor",
}
_GREEN_TEXTURE = {
    Cover.WATER: 0.0,
    Cover.BUILT_UP: 0.10,
    Cover.BARE_SOIL: 0.025,
    Cover.GRASS: 0.05,
    Cover.FOREST: 0.06,
}
_CROP_TEXTURE = 0.045


@dataclass(frozen=True)
class Stands:
    """Stands as columns: one value per stand in every array."""

    cover: NDArray[np.uint8]
    shift: NDArray[np.float64]
    """Days by which this stand's season is late."""
    vigour: NDArray[np.float64]
    """Factor of the green fraction, around 1."""
    brightness: NDArray[np.float64]
    """Factor of the bare surface's reflectance, around 1."""
    habit: NDArray[np.float64]
    """0 to 1: share of evergreens, of gardens, of weeds, or the day of the first cut."""
    felled: NDArray[np.bool_]
    """Forest that is cut down on ``felled_on``."""
    felled_on: dt.date


def stand_spectra(stands: Stands, day: dt.date) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each stand's reflectance on a day and its change with greenness.

    Returns:
        ``mean`` and ``texture``, both (stand, band) in the order of ``spectra.BANDS``: reflectance,
        and what one standard deviation of the greenness texture adds to it.
    """
    time = day.timetuple().tm_yday - stands.shift
    green, dry, flower = np.zeros((3, len(stands.cover)))
    surfaces = np.zeros((2, len(stands.cover), len(ENDMEMBERS["soil"])))
    amplitude = np.full(len(stands.cover), _CROP_TEXTURE)
    for cover, fractions in _FRACTIONS.items():
        own = stands.cover == cover
        green[own], dry[own], flower[own] = fractions(time[own], stands.habit[own])
        surfaces[0, own] = ENDMEMBERS[_GREEN_SURFACE.get(cover, "crop")]
        surfaces[1, own] = ENDMEMBERS[_BARE_SURFACE.get(cover, "soil")]
        amplitude[own] = _GREEN_TEXTURE.get(cover, _CROP_TEXTURE)
    felled = stands.felled & (day >= stands.felled_on)
    green[felled], dry[felled] = 0.06, 0.25
    surfaces[1, felled] = ENDMEMBERS["soil"]
    green = np.clip(green * stands.vigour, 0, 0.97)
    dry = np.clip(np.minimum(dry, 1 - green), 0, 1)
    leafy, bare = surfaces
    bare = bare * stands.brightness[:, None]
    leafy = leafy + flower[:, None] * (ENDMEMBERS["rapeseed_flower"] - leafy)
    mean = (
        green[:, None] * leafy
        + dry[:, None] * ENDMEMBERS["straw"]
        + (1 - green - dry)[:, None] * bare
    )
    # Where nothing grows there is little to vary, and a closed canopy has few gaps.
    spread = amplitude * np.sqrt(np.clip(4 * green * (1 - green), 0.1, 1))
    texture = spread[:, None] * (leafy - bare)
    return mean.astype(np.float32), texture.astype(np.float32)


def _rise(day: NDArray[np.float64], middle: float, pace: float) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-(day - middle) / pace)))


def _season(
    day: NDArray[np.float64], start: float, rise: float, end: float, fall: float
) -> NDArray[np.float64]:
    """A double logistic: 0 before ``start``, 1 in season, 0 after ``end`` (days of the year)."""
    return _rise(day, start, rise) * (1 - _rise(day, end, fall))


Fractions = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]


def _water(day: NDArray[np.float64], _habit: NDArray[np.float64]) -> Fractions:
    nothing = np.zeros_like(day)
    return nothing, nothing, nothing


def _built_up(day: NDArray[np.float64], gardens: NDArray[np.float64]) -> Fractions:
    nothing = np.zeros_like(day)
    leaf = 0.65 + 0.35 * _season(day, 112, 10, 300, 12)
    return (0.10 + 0.16 * gardens) * leaf, nothing, nothing


def _bare_soil(day: NDArray[np.float64], weeds: NDArray[np.float64]) -> Fractions:
    nothing = np.zeros_like(day)
    return 0.02 + 0.07 * weeds * _season(day, 130, 15, 280, 15), nothing, nothing


def _grass(day: NDArray[np.float64], first_cut: NDArray[np.float64]) -> Fractions:
    green = 0.50 + 0.31 * _season(day, 95, 11, 305, 14)
    dry = np.full_like(day, 0.12)
    for cut in (142 + 22 * first_cut, 205 + 24 * first_cut):
        since = day - cut
        stubble = np.where(since >= 0, np.exp(-np.maximum(since, 0) / 16), 0)
        green = green - 0.40 * stubble
        dry = dry + 0.18 * stubble
    return green, dry, np.zeros_like(day)


def _forest(day: NDArray[np.float64], evergreen: NDArray[np.float64]) -> Fractions:
    nothing = np.zeros_like(day)
    share = 0.25 + 0.55 * evergreen
    return 0.96 * (share + (1 - share) * _season(day, 119, 6, 297, 8)), nothing, nothing


def _cereal(
    day: NDArray[np.float64], winter: float, spring: float, ripe: float, harvest: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    alive = 1 - _rise(day, ripe, 5)
    green = (winter + (0.94 - winter) * _rise(day, spring, 9)) * alive
    stubble = 0.35 * np.exp(-np.maximum(day - harvest, 0) / 25)
    dry = 0.75 * _season(day, ripe, 5, harvest, 1.5) + stubble * _rise(day, harvest, 1.5)
    return green, dry


def _winter_wheat(day: NDArray[np.float64], next_crop: NDArray[np.float64]) -> Fractions:
    green, dry = _cereal(day, 0.26, 101, 186, 214)
    sown = (0.12 + 0.18 * next_crop) * _rise(day, 305, 9)
    return green + sown, dry, np.zeros_like(day)


def _rapeseed(day: NDArray[np.float64], next_crop: NDArray[np.float64]) -> Fractions:
    green, dry = _cereal(day, 0.52, 90, 178, 202)
    volunteers = (0.22 + 0.12 * next_crop) * _rise(day, 236, 7)
    return green + volunteers, dry, 0.62 * _season(day, 118, 3, 143, 3)


def _maize(day: NDArray[np.float64], stubble: NDArray[np.float64]) -> Fractions:
    green = 0.03 + 0.87 * _season(day, 166, 7, 262, 5)
    return green, (0.2 + 0.2 * stubble) * _rise(day, 266, 4), np.zeros_like(day)


def _sugar_beet(day: NDArray[np.float64], _habit: NDArray[np.float64]) -> Fractions:
    nothing = np.zeros_like(day)
    return 0.03 + 0.88 * _season(day, 147, 8, 298, 4), nothing, nothing


_FRACTIONS = {
    Cover.WATER: _water,
    Cover.BUILT_UP: _built_up,
    Cover.BARE_SOIL: _bare_soil,
    Cover.GRASS: _grass,
    Cover.FOREST: _forest,
    Cover.WINTER_WHEAT: _winter_wheat,
    Cover.RAPESEED: _rapeseed,
    Cover.MAIZE: _maize,
    Cover.SUGAR_BEET: _sugar_beet,
}
