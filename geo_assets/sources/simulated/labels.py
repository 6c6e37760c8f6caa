"""The label polygons: crop parcels of two folds and three splits, as a field survey draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import Transformer
from rasterio.features import rasterize

from geo_assets.sources.simulated import layout
from geo_assets.sources.simulated.covers import CROPS, Cover
from geo_assets.sources.simulated.tiles import MASTER_EPSG, west_and_east

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely import Polygon

    from geo_assets.sources.simulated.landscape import Landscape
    from geo_assets.sources.simulated.spec import ArchiveSpec
    from geo_assets.sources.simulated.tiles import Tile

INSET_M = 12.0
"""Distance from the parcel's edge: no label pixel is mixed with the neighbour's crop."""
_SMALLEST_M2 = 15_000.0
_SURVEYED_SHARE = 0.9
_LEAST_PURE = 0.99
_PLACES = 7


@dataclass(frozen=True)
class _Field:
    number: int
    polygon: Polygon
    crop: Cover


def label_collections(landscape: Landscape, spec: ArchiveSpec) -> dict[str, dict[str, Any]]:
    """Return a GeoJSON FeatureCollection (EPSG:4326) per fold.

    Each feature has ``class`` (a crop), ``split`` and ``parcel_id``.
    """
    generator = np.random.default_rng([spec.seed, 5])
    fields = [field for field in _pure_fields(landscape) if generator.random() < _SURVEYED_SHARE]
    tiles = west_and_east(spec)
    collections: dict[str, dict[str, Any]] = {}
    for fold in layout.LABEL_ROWS:
        features = [
            _feature(field, split)
            for split in layout.SPLITS
            for field in _fields_within(fields, tiles, fold, split)
        ]
        collections[fold] = {"type": "FeatureCollection", "name": fold, "features": features}
    return collections


def _pure_fields(landscape: Landscape) -> list[_Field]:
    """Return the parcels of crops, inset, that no wood, road or water takes a part of."""
    inset = shapely.buffer(np.array(landscape.parcels), -INSET_M, join_style="mitre")
    candidates = [
        _Field(number, polygon, Cover(landscape.parcel_cover[number]))
        for number, polygon in enumerate(inset)
        if polygon.area >= _SMALLEST_M2 and landscape.parcel_cover[number] in CROPS
    ]
    number_of = rasterize(
        ((field.polygon, index + 1) for index, field in enumerate(candidates)),
        landscape.cover.shape, transform=landscape.lattice.affine, fill=0, dtype="int32",
    )  # fmt: skip
    crop = np.array([0, *(field.crop for field in candidates)], np.uint8)
    own = crop[number_of] == landscape.cover
    count = np.bincount(number_of.ravel(), minlength=len(crop))
    pure = np.bincount(number_of.ravel(), own.ravel(), minlength=len(crop)) / np.maximum(count, 1)
    return [
        field for field, share in zip(candidates, pure[1:], strict=True) if share >= _LEAST_PURE
    ]


def _fields_within(
    fields: list[_Field], tiles: tuple[Tile, Tile], fold: str, split: str
) -> list[_Field]:
    """Return the fields that lie wholly in one of the two groups of a fold's split."""
    which, left, right = layout.LABEL_COLUMNS[split]
    tile = tiles[which]
    box = tile.geobox.boundingbox
    extent = box.right - box.left
    groups = shapely.union_all(
        [
            shapely.box(
                box.left + left * extent, box.top - lower * extent,
                box.left + right * extent, box.top - upper * extent,
            )
            for upper, lower in layout.LABEL_ROWS[fold]
        ]
    )  # fmt: skip
    return [field for field in fields if groups.covers(_to_crs(field.polygon, tile.epsg))]


def _to_crs(polygon: Polygon, epsg: int) -> Polygon:
    if epsg == MASTER_EPSG:
        return polygon
    transform = Transformer.from_crs(MASTER_EPSG, epsg, always_xy=True).transform

    def along(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transform(points[:, 0], points[:, 1]), -1)

    return shapely.transform(polygon, along)


def _feature(field: _Field, split: str) -> dict[str, Any]:
    ring = shapely.get_coordinates(_to_crs(shapely.orient_polygons(field.polygon), 4326))
    return {
        "type": "Feature",
        "properties": {
            "parcel_id": f"P{field.number:05d}",
            "class": field.crop.label,
            "split": split,
        },
        "geometry": {"type": "Polygon", "coordinates": [np.round(ring, _PLACES).tolist()]},
    }
