"""The scale of digital numbers: what one of them is in units of reflectance.

Pixels are read as digital numbers whose offset was applied (``reflectance``); formulas with
constants, such as EVI's, want reflectance from 0 to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets.errors import SourceError
from geo_assets.sources.scenes.band_keys import BandError, find_band, is_sentinel_2
from geo_assets.sources.scenes.reflectance import raster_band

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo_assets.sources.protocol import Item

SENTINEL_2_SCALE = 1e-4
"""Reflectance of one digital number: 1 / QUANTIFICATION_VALUE (ESA, Sentinel-2 Products
Specification Document 14.9)."""


def known_scale(item: Item, band: str) -> Any:
    """Return what a scene states of a band's scale, or is known for; None: nothing.

    Raises:
        BandError: If it has no such band.
    """
    place = find_band(item, band)
    stated = raster_band(item["assets"][place.asset_key], place.index).get("scale")
    return SENTINEL_2_SCALE if stated is None and is_sentinel_2(item) else stated


def reflectance_scale(items: Sequence[Item], band: str, default: float | None) -> float:
    """Return what one digital number of a band is in units of reflectance, the same in all scenes.

    What a scene states in ``raster:bands`` decides, then what Sentinel-2 is known for, then the
    default. Scenes without the band say nothing: reading them will fail by itself.

    Raises:
        SourceError: If nothing says it, or scenes differ, or a scale is no number above 0.
    """
    scales: dict[float, str] = {}
    for item in items:
        try:
            known = known_scale(item, band)
        except BandError:
            continue
        stated = default if known is None else known
        if stated is None:
            raise SourceError(
                f"scene {item['id']}, band {band!r}: nothing says what a digital number is in "
                "units of reflectance: no scale in raster:bands. State it in the campaign: "
                "cube.scale: 0.0001"
            )
        try:
            scale = float(stated)
        except (TypeError, ValueError):
            scale = float("nan")
        if not scale > 0:
            raise SourceError(
                f"scene {item['id']}, band {band!r}: scale {stated!r} in raster:bands; allowed: "
                "numbers above 0"
            )
        scales.setdefault(scale, item["id"])
    if len(scales) > 1:
        said = ", ".join(f"{scale} in {name}" for scale, name in sorted(scales.items()))
        raise SourceError(
            f"band {band!r}: scenes of one day have different scales, {said}; they cannot be fused"
        )
    return next(iter(scales), default or 1.0)
