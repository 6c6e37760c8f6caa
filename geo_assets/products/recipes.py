"""How grids and scenes are named in recipes: by what decides pixels, alike on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets.core.grids import crs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from odc.geo.geobox import GeoBox

    from geo_assets.sources.protocol import Item

_DECIDING = ("s2:processing_baseline", "earthsearch:boa_offset_applied", "ee:version")
"""Properties that change with the pixels of a scene, whose id stays."""


def scene_pins(items: Iterable[Item]) -> list[list[str]]:
    """Return what identifies the pixels of scenes, in an order of its own: id, baseline, offset."""
    return sorted(
        [str(item["id"]), *(str(item["properties"].get(name, "")) for name in _DECIDING)]
        for item in items
    )


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
