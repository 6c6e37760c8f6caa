"""The landscape: what covers the ground, drawn once on the master lattice.

Cover, stands and static texture only; seasons are phenology's matter, light and clouds the scene's.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from rasterio.features import rasterize
from scipy import ndimage
from scipy.interpolate import CubicSpline
from shapely import Polygon

from geo_assets.sources.simulated import layout, parcels
from geo_assets.sources.simulated.covers import Cover
from geo_assets.sources.simulated.noise import smooth_noise
from geo_assets.sources.simulated.phenology import Stands
from geo_assets.sources.simulated.tiles import PIXEL_M, master_lattice, west_and_east

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from shapely.geometry.base import BaseGeometry

    from geo_assets.sources.simulated.spec import ArchiveSpec

_ROTATION = np.repeat(
    np.array(
        [
            Cover.WINTER_WHEAT,
            Cover.RAPESEED,
            Cover.MAIZE,
            Cover.SUGAR_BEET,
            Cover.BARE_SOIL,
            Cover.GRASS,
        ],
        np.uint8,
    ),
    (5, 4, 4, 3, 2, 2),
)
"""What grows on twenty neighbouring parcels, before they are shuffled."""
_FOREST_SHARE = 0.17
_SPREAD = {
    # deviations of: days of season, vigour, soil brightness
    Cover.WATER: (0.0, 0.0, 0.0),
    Cover.BUILT_UP: (4.0, 0.20, 0.08),
    Cover.BARE_SOIL: (6.0, 0.20, 0.10),
    Cover.GRASS: (6.0, 0.07, 0.08),
    Cover.FOREST: (4.0, 0.04, 0.08),
}
_CROP_SPREAD = (8.0, 0.08, 0.12)
_GRAIN = {Cover.WATER: 0.03, Cover.BUILT_UP: 0.17, Cover.FOREST: 0.10}
_OTHER_GRAIN = 0.045


@dataclass(frozen=True)
class Landscape:
    """The ground, all rasters (y, x) on ``lattice``."""

    lattice: GeoBox
    cover: NDArray[np.uint8]
    """Land-cover values, see ``covers.Cover``."""
    stand: NDArray[np.int32]
    """Row of each pixel in ``stands``."""
    stands: Stands
    greenness: NDArray[np.float32]
    """Static texture of the green fraction, deviation 1."""
    grain: NDArray[np.float32]
    """Static factor of reflectance, around 1."""
    parcels: list[Polygon]
    """Field parcels in the lattice's CRS, those that town, wood and water cover among them."""
    parcel_cover: NDArray[np.uint8]
    """What grows on each parcel where nothing else covers it."""
    clear_cut: Polygon
    """The felled area in the lattice's CRS."""


def build_landscape(spec: ArchiveSpec) -> Landscape:
    """Draw the landscape of a spec; equal specs give equal landscapes."""
    generator = np.random.default_rng([spec.seed, 1])
    drawing = _Drawing(spec, master_lattice(spec), generator)
    blocks = parcels.draw_blocks(generator, drawing.lattice.boundingbox.bbox)
    fields = parcels.cut_into_parcels(generator, blocks)
    parcel = drawing.burn([(field, number) for number, field in enumerate(fields)])
    parcel_cover = _sow(generator, len(fields))
    cover = parcel_cover[parcel]
    _draw_tracks(drawing, cover, blocks)
    _draw_woods(drawing, cover, parcel)
    _draw_water(drawing, cover)
    _draw_settlements(drawing, cover)
    clear_cut = drawing.clear_cut()
    felled = (drawing.burn([(clear_cut, 1)]) == 1) & (cover == Cover.FOREST)
    kinds = (parcel.astype(np.int64) * 16 + cover) * 2 + felled
    names, stand = np.unique(kinds, return_inverse=True)
    streets = _draw_streets(drawing, cover)
    return Landscape(
        lattice=drawing.lattice,
        cover=cover,
        stand=stand.reshape(cover.shape).astype(np.int32),
        stands=_draw_stands(generator, names, spec.year),
        greenness=0.65 * drawing.noise(5) + 0.76 * drawing.noise(0.7) - 1.5 * streets,
        grain=_draw_grain(drawing, cover) + 0.12 * streets,
        parcels=fields,
        parcel_cover=parcel_cover,
        clear_cut=clear_cut,
    )


class _Drawing:
    """The sheet: lattice, generator and the tools that know about tile units."""

    def __init__(self, spec: ArchiveSpec, lattice: GeoBox, generator: np.random.Generator) -> None:
        self.lattice = lattice
        self.generator = generator
        corner = west_and_east(spec)[0].geobox.boundingbox
        self.corner = np.array([corner.left, corner.top])
        self.unit_m = spec.tile_size * PIXEL_M
        self.shape = (int(lattice.shape[0]), int(lattice.shape[1]))
        affine = lattice.affine
        rows, columns = np.indices(self.shape, np.float32)
        self.x = (columns + 0.5 + (affine.c - corner.left) / PIXEL_M) / spec.tile_size
        self.y = (rows + 0.5 + (corner.top - affine.f) / PIXEL_M) / spec.tile_size

    def noise(self, scale: float) -> NDArray[np.float32]:
        return smooth_noise(self.generator, self.shape, scale)

    def to_map(self, places: np.ndarray) -> NDArray[np.float64]:
        """Turn tile units into map coordinates."""
        return np.asarray(self.corner + places * self.unit_m * np.array([1, -1]))

    def burn(self, shapes: Sequence[tuple[BaseGeometry, int]]) -> NDArray[np.int32]:
        burned = rasterize(shapes, self.shape, transform=self.lattice.affine, fill=0, dtype="int32")
        return np.asarray(burned)

    def distance(self, places: tuple[layout.Place, ...]) -> NDArray[np.float32]:
        """Return the distance in metres to a smooth line through some places."""
        steps = np.arange(len(places))
        dense = CubicSpline(steps, np.array(places))(np.linspace(0, steps[-1], 40 * len(places)))
        line = rasterize(
            [(shapely.linestrings(self.to_map(dense)), 0)],
            self.shape, transform=self.lattice.affine, fill=1, dtype="uint8", all_touched=True,
        )  # fmt: skip
        return np.asarray(ndimage.distance_transform_edt(line), np.float32) * PIXEL_M

    def patch(self, patch: layout.Patch) -> NDArray[np.float32]:
        """Return 1 at a patch's centre, falling through 0 at its radius."""
        x, y = patch.centre
        return np.asarray(1 - np.hypot(self.x - x, self.y - y) / patch.radius)

    def clear_cut(self) -> Polygon:
        sides = np.array(layout.CLEAR_CUT_SIDES)
        corners = np.array([(-1, -1), (1, -1), (1.08, 0.9), (-0.9, 1.05)]) * sides / 2
        turn = np.deg2rad(layout.CLEAR_CUT_TURN_DEGREES)
        turned = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return Polygon(self.to_map(np.array(layout.FELLED_WOOD.centre) + turned))


def _sow(generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Choose what grows on each parcel, in equal shares wherever one looks."""
    rounds = -(-count // len(_ROTATION))
    seasons = [generator.permutation(_ROTATION) for _ in range(rounds)]
    return np.concatenate(seasons)[:count]


def _draw_tracks(drawing: _Drawing, cover: NDArray[np.uint8], blocks: list[Polygon]) -> None:
    """Leave a grassy track of one pixel around the blocks."""
    rings = [(block.exterior, 1) for block in blocks]
    cover[drawing.burn(rings) == 1] = Cover.GRASS


def _draw_woods(drawing: _Drawing, cover: NDArray[np.uint8], parcel: NDArray[np.int32]) -> None:
    """Grow woods whose edges follow the fields in part, and trees along brooks."""
    field = drawing.noise(42) + 0.45 * drawing.noise(11)
    for wood in layout.WOODS:
        field += 2.2 * np.maximum(drawing.patch(wood), 0)
    for clearing in layout.CLEARINGS:
        field -= 2.2 * np.minimum(2 * np.maximum(drawing.patch(clearing), 0), 1)
    numbers = np.arange(parcel.max() + 1)
    level = ndimage.mean(field, parcel, numbers)[parcel]
    score = 0.5 * field + 0.5 * level
    cover[score > np.quantile(score, 1 - _FOREST_SHARE)] = Cover.FOREST
    edge = 0.22 * drawing.noise(9)
    cover[drawing.patch(layout.FELLED_WOOD) + edge > 0] = Cover.FOREST
    for brook in layout.BROOKS:
        distance = drawing.distance(brook)
        cover[distance < 60 + 25 * edge / 0.22] = Cover.GRASS
        cover[distance < 14 + 60 * edge] = Cover.FOREST


def _draw_water(drawing: _Drawing, cover: NDArray[np.uint8]) -> None:
    """Let the river run through its meadows; fill the lakes."""
    distance, wobble, trees = (
        drawing.distance(layout.RIVER), drawing.noise(12), drawing.noise(6)
    )  # fmt: skip
    cover[distance < 190 + 70 * wobble] = Cover.GRASS
    cover[(distance < 150 + 60 * wobble) & (trees > 0.95)] = Cover.FOREST
    cover[distance < 60 + 10 * wobble] = Cover.WATER
    for lake in layout.LAKES:
        shore = drawing.patch(lake) + 0.18 * wobble
        cover[(shore > -0.35) & (trees > 0.1)] = Cover.FOREST
        cover[shore > 0] = Cover.WATER
    quarry = drawing.patch(layout.QUARRY) + 0.2 * wobble
    cover[quarry > 0] = Cover.BARE_SOIL


def _draw_settlements(drawing: _Drawing, cover: NDArray[np.uint8]) -> None:
    """Build roads, villages and the town with its parks; nobody builds on water."""
    dry = cover != Cover.WATER
    for road in layout.ROADS:
        cover[drawing.distance(road) < 11] = Cover.BUILT_UP
    edge, park = drawing.noise(9), drawing.noise(7)
    for place in layout.VILLAGES:
        cover[dry & (drawing.patch(place) + 0.32 * edge > 0)] = Cover.BUILT_UP
    town = drawing.patch(layout.TOWN) + 0.22 * edge
    cover[dry & (town > 0) & (park < 1.45)] = Cover.BUILT_UP
    cover[dry & (town > 0) & (park >= 1.45)] = Cover.GRASS


def _draw_streets(drawing: _Drawing, cover: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return 1 along streets, 0 elsewhere: narrow contours of noise, in built-up land alone."""
    streets = np.exp(-((drawing.noise(5) / np.float32(0.16)) ** 2))
    return np.where(cover == Cover.BUILT_UP, streets, np.float32(0)).astype(np.float32)


def _draw_stands(generator: np.random.Generator, names: NDArray[np.int64], year: int) -> Stands:
    cover = (names // 2 % 16).astype(np.uint8)
    spread = np.array([_SPREAD.get(Cover(value), _CROP_SPREAD) for value in cover])
    # Few stands lie far from their kind: farmers of one valley sow in the same weeks.
    draws = np.clip(generator.standard_normal((len(names), 3)), -2.2, 2.2) * spread
    return Stands(
        cover=cover,
        shift=draws[:, 0],
        vigour=1 + draws[:, 1],
        brightness=1 + draws[:, 2],
        habit=generator.uniform(0, 1, len(names)),
        felled=names % 2 == 1,
        felled_on=dt.date(year, *layout.CLEAR_CUT_DATE),
    )


def _draw_grain(drawing: _Drawing, cover: NDArray[np.uint8]) -> NDArray[np.float32]:
    amplitude = np.full(len(Cover) + 1, _OTHER_GRAIN, np.float32)
    for kind, value in _GRAIN.items():
        amplitude[kind] = value
    grain = amplitude[cover] * (0.45 * drawing.noise(6) + 0.9 * drawing.noise(0.6))
    return np.clip(1 + grain, 0.5, 1.6)
