"""How grids and scenes are named in recipes: by what decides pixels, alike on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets.core.grids import crs_of
from geo_assets.sources.scenes.band_keys import BandError, find_band
from geo_assets.sources.scenes.processing import (
    BASELINE,
    LEGACY_BASELINE,
    LEGACY_OFFSET_APPLIED,
    OFFSET_APPLIED,
    VERSION,
)
from geo_assets.sources.scenes.reflectance import raster_band

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from odc.geo.geobox import GeoBox

    from geo_assets.sources.protocol import Item

_DECIDING = (BASELINE, OFFSET_APPLIED, VERSION)
_DECIDING_IF_STATED = (LEGACY_BASELINE, LEGACY_OFFSET_APPLIED)
"""They are part of a pin only where a scene has them, so that other recipes stay what they were."""


def scene_pins(items: Iterable[Item]) -> list[list[str]]:
    """Return what identifies the pixels of scenes, in an order of its own: id, baseline, offset."""
    return sorted(_pin_of(item) for item in items)


def stated_values(items: Iterable[Item], bands: Sequence[str]) -> dict[str, Any]:
    """Return what scenes state of the offset and the no-data value of bands, as part of a recipe.

    A reader applies both. A catalogue may correct them, and then pixels change that no pin of a
    scene tells of. Each statement counts once, so that a further scene that says the same changes
    nothing.

    Returns:
        ``{"stated": {band: [[offset, scale, no-data], ...]}}``; empty where nothing is stated.
    """
    stated: dict[str, set[tuple[str, ...]]] = {}
    for item in items:
        for band in bands:
            try:
                place = find_band(item, band)
            except BandError:
                continue  # reading it will fail by itself
            said = raster_band(item["assets"][place.asset_key], place.index)
            if said.keys() & {"offset", "nodata"}:
                values = tuple(str(said.get(name, "")) for name in ("offset", "scale", "nodata"))
                stated.setdefault(band, set()).add(values)
    found = {band: [list(values) for values in sorted(said)] for band, said in stated.items()}
    return {"stated": found} if found else {}


def grid_recipe(geobox: GeoBox) -> dict[str, Any]:
    """Return a grid as JSON values: CRS, transform, shape.

    Raises:
        SourceError: If it has no CRS.
    """
    return {
        "crs": str(crs_of(geobox)),
        "transform": [round(value, 9) for value in geobox.affine[:6]],
        "shape": list(geobox.shape),
    }


def _pin_of(item: Item) -> list[str]:
    said = item["properties"]
    legacy = (f"{name} {said[name]}" for name in _DECIDING_IF_STATED if name in said)
    return [str(item["id"]), *(str(said.get(name, "")) for name in _DECIDING), *legacy]
