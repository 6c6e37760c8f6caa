"""The tile of the Military Grid Reference System (MGRS) that a scene was cut for.

Sentinel-2 is delivered in tiles of about 110 km that overlap; services name them in four ways.
Only names live here, no geometry.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets.sources.protocol import Item

LAST_ZONE = 60

# Zone, latitude band and 100 km square; the letters I and O are not used, nor A, B, Y, Z as bands.
_TILE = re.compile(r"(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z][A-HJ-NP-V])")
_GRID_CODE = "MGRS-"
_SENTINEL_2_ID = re.compile(r"S2[A-D]_")
_WHOLE = ("s2:mgrs_tile",)
_IN_PARTS = ("mgrs", "sentinel")
"""Prefixes of utm_zone, latitude_band, grid_square: the extension's, and Earth Search v0's."""
_PRODUCT_IDS = ("s2:product_uri", "sentinel:product_id")


def mgrs_tile(item: Item) -> str | None:
    """Return a scene's MGRS tile such as ``33UUU``, its zone always in two digits.

    The first that names a tile decides: ``s2:mgrs_tile`` (Planetary Computer), ``grid:code``
    (``MGRS-33UUU``), ``mgrs:utm_zone`` with ``mgrs:latitude_band`` and ``mgrs:grid_square``
    (Earth Search), the product's name, a Sentinel-2 id. None: the scene is cut for no tile.

    Args:
        item: STAC item.
    """
    properties = item["properties"]
    code = str(properties.get("grid:code") or "")
    names = [
        *(str(properties.get(field) or "") for field in _WHOLE),
        code.removeprefix(_GRID_CODE) if code.startswith(_GRID_CODE) else "",
        *(_joined(properties, prefix) for prefix in _IN_PARTS),
        *_within(*(str(properties.get(field) or "") for field in _PRODUCT_IDS), str(item["id"])),
    ]
    return next((tile for name in names if (tile := _tile(name)) is not None), None)


def _joined(properties: Mapping[str, Any], prefix: str) -> str:
    parts = [
        properties.get(f"{prefix}:{part}") for part in ("utm_zone", "latitude_band", "grid_square")
    ]
    return "".join(str(part) for part in parts) if None not in parts else ""


def _within(*names: str) -> list[str]:
    """Parts of the names of Sentinel-2 products: ``S2A_33UUU_…`` and ``S2A_MSIL2A_…_T33UUU_…``."""
    return [
        part.removeprefix("T")
        for name in names
        if _SENTINEL_2_ID.match(name)
        for part in name.removesuffix(".SAFE").split("_")
    ]


def _tile(name: str) -> str | None:
    """A tile's name with a zone of two digits, None if it is no tile's name."""
    found = _TILE.fullmatch(name.strip().upper())
    if found is None or not 1 <= int(found[1]) <= LAST_ZONE:
        return None
    return f"{int(found[1]):02d}{found[2]}{found[3]}"
