"""One acquisition's pixels: landscape, season, sky and noise become digital numbers.

Arrays only; files and records are the archive's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.sources.simulated.covers import Cover
from geo_assets.sources.simulated.phenology import stand_spectra
from geo_assets.sources.simulated.spectra import BANDS, ENDMEMBERS
from geo_assets.sources.simulated.swaths import swath_mask
from geo_assets.sources.simulated.tiles import PIXEL_M, nearest_master_pixels
from geo_assets.sources.simulated.weather import MEDIUM, SHADED, THICK, THIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from geo_assets.sources.simulated.acquisitions import Acquisition
    from geo_assets.sources.simulated.landscape import Landscape
    from geo_assets.sources.simulated.tiles import Tile
    from geo_assets.sources.simulated.weather import Sky

SCALE = 10_000
SCL_RESOLUTION = 20
_NOISE_FLOOR, _NOISE_SHARE = 0.0012, 0.018
"""Deviation of a 10 m pixel's noise: a floor and a share of its reflectance."""
_DARKENING = 0.62
_SNOW_COVER = {Cover.WATER: 0.0, Cover.BUILT_UP: 0.72, Cover.FOREST: 0.48}
_OPEN_SNOW_COVER = 0.93


@dataclass(frozen=True)
class Ground:
    """The landscape as one tile sees it, arrays (y, x) on the tile's 10 m lattice."""

    tile: Tile
    master_pixel: NDArray[np.int32]
    cover: NDArray[np.uint8]
    stand: NDArray[np.int32]
    greenness: NDArray[np.float32]
    grain: NDArray[np.float32]


def ground_of(landscape: Landscape, tile: Tile) -> Ground:
    """Take the landscape to a tile's lattice, nearest pixel by nearest pixel."""
    pixel = nearest_master_pixels(landscape.lattice, tile)
    return Ground(
        tile=tile,
        master_pixel=pixel,
        cover=landscape.cover.ravel()[pixel],
        stand=landscape.stand.ravel()[pixel],
        greenness=landscape.greenness.ravel()[pixel],
        grain=landscape.grain.ravel()[pixel],
    )


class Scene:
    """The pixels of one acquisition of one tile."""

    def __init__(
        self,
        landscape: Landscape,
        ground: Ground,
        acquisition: Acquisition,
        sky: Sky | None,
        seed: int,
    ) -> None:
        self._ground = ground
        self._acquisition = acquisition
        self._seed = seed
        mean, texture = stand_spectra(landscape.stands, acquisition.date)
        self._mean = np.ascontiguousarray(mean.T)
        self._texture = np.ascontiguousarray(texture.T)
        self._opacity = None if sky is None else sky.opacity.ravel()[ground.master_pixel]
        self._light = (
            None if sky is None else 1 - _DARKENING * sky.shadow.ravel()[ground.master_pixel]
        )
        self._snow = self._snow_cover() if acquisition.snow else None
        self._gain, self._haze = self._atmosphere()
        seen = swath_mask(ground.tile, acquisition.swath, ground.tile.lattice(SCL_RESOLUTION))
        self._seen = {20: seen, 10: _repeat(seen, 2), 60: _block_mean(_repeat(seen, 2), 6) == 1}

    def bands(self) -> Iterator[tuple[str, int, NDArray[np.uint16]]]:
        """Yield name, resolution in metres and digital numbers (y, x; 0 = no data) per band."""
        for index, band in enumerate(BANDS):
            reflectance = self._reflectance(index)
            factor = band.resolution // PIXEL_M
            reflectance = _soften(reflectance) if factor == 1 else _block_mean(reflectance, factor)
            yield band.name, band.resolution, self._digital_numbers(index, reflectance, factor)

    def classification(self) -> NDArray[np.uint8]:
        """Return the scene classification (y, x) at 20 m, in the classes of Sen2Cor's SCL."""
        red, nir = (_block_mean(self._reflectance(index), 2) for index in (3, 7))
        ndvi = (nir - red) / (nir + red)
        classes = np.where(ndvi > 0.35, 4, 5).astype(np.uint8)
        classes[(ndvi < 0) & (nir < 0.12)] = 6
        if self._snow is not None:
            classes[_block_mean(self._snow, 2) > 0.3] = 11
        if self._opacity is not None and self._light is not None:
            opacity = _block_mean(self._opacity, 2)
            classes[_block_mean(self._light, 2) < 1 - _DARKENING * SHADED] = 3
            for lowest, value in ((THIN, 10), (MEDIUM, 8), (THICK, 9)):
                classes[opacity >= lowest] = value
        classes[~self._seen[20]] = 0
        return classes

    def _reflectance(self, index: int) -> NDArray[np.float32]:
        """Return the noiseless surface reflectance (y, x) of one band at 10 m."""
        ground = self._ground
        pixels: NDArray[np.float32] = self._texture[index].take(ground.stand)
        pixels *= ground.greenness
        pixels += self._mean[index].take(ground.stand)
        pixels *= ground.grain
        if self._snow is not None:
            pixels += self._snow * (ENDMEMBERS["snow"][index] - pixels)
        pixels *= self._gain[index]
        pixels += self._haze[index]
        if self._opacity is not None and self._light is not None:
            pixels *= self._light
            pixels += self._opacity * (ENDMEMBERS["cloud"][index] - pixels)
        return pixels

    def _digital_numbers(
        self, index: int, reflectance: NDArray[np.float32], factor: int
    ) -> NDArray[np.uint16]:
        generator = self._generator(3, index)
        noise = generator.standard_normal(reflectance.shape, np.float32)
        # Larger pixels gather more light; real products gain less than the square root says.
        noise *= (_NOISE_FLOOR + _NOISE_SHARE * reflectance) * np.float32(factor**-0.5)
        noise += reflectance
        noise *= SCALE
        np.rint(noise, out=noise)
        np.clip(noise, 1, 15_000, out=noise)
        numbers = noise.astype(np.uint16)
        numbers += np.uint16(self._acquisition.offset)
        numbers[~self._seen[factor * PIXEL_M]] = 0
        return numbers

    def _generator(self, purpose: int, index: int) -> np.random.Generator:
        item = self._acquisition
        return np.random.default_rng(
            [
                self._seed,
                purpose,
                item.date.toordinal(),
                self._ground.tile.epsg,
                item.sequence,
                index,
            ]
        )

    def _atmosphere(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return gain and offset per band: what the atmospheric correction left of the day."""
        generator = np.random.default_rng([self._seed, 4, self._acquisition.date.toordinal()])
        gain = 1 + 0.012 * generator.standard_normal() + 0.004 * generator.standard_normal(12)
        centre = np.array([band.centre_um for band in BANDS])
        haze = 0.0025 * np.abs(generator.standard_normal()) * (0.49 / centre) ** 3
        return gain.astype(np.float32), haze.astype(np.float32)

    def _snow_cover(self) -> NDArray[np.float32]:
        share = np.full(len(Cover) + 1, _OPEN_SNOW_COVER, np.float32)
        for cover, value in _SNOW_COVER.items():
            share[cover] = value
        ground = self._ground
        return np.asarray(share[ground.cover] * np.clip(1 + 0.06 * ground.greenness, 0, 1.07))


def _repeat(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    return mask.repeat(factor, 0).repeat(factor, 1)


def _block_mean(
    pixels: NDArray[np.float32] | NDArray[np.bool_], factor: int
) -> NDArray[np.float32]:
    """Average blocks of ``factor`` × ``factor`` pixels."""
    height, width = pixels.shape
    blocks = pixels.reshape(height // factor, factor, width)
    rows = blocks.sum(1, dtype=np.float32).reshape(height // factor, width // factor, factor)
    return np.asarray(rows.sum(2) / np.float32(factor * factor))


def _soften(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Spread light to the four neighbours, as the instrument's point spread does: mixed edges."""
    mixed = np.float32(0.6) * pixels
    share = np.float32(0.1) * pixels
    mixed[1:] += share[:-1]
    mixed[:-1] += share[1:]
    mixed[:, 1:] += share[:, :-1]
    mixed[:, :-1] += share[:, 1:]
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        mixed[edge] += share[edge]
    return np.asarray(mixed)
