"""Where a band lies within an item: found under any name that an archive gives it.

Only keys of assets live here, no pixels; which names mean the same is in ``core/band_names.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.core.band_names import SENTINEL_2_NAMES, esa_name
from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geo_assets.sources.protocol import Item

_PICTURES = frozenset({"visual", "overview", "thumbnail", "preview", "rendered_preview"})
_RASTER_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff")


class BandError(SourceError):
    """A scene does not offer a band, or offers several under its name."""


class AmbiguousBandError(BandError):
    """A scene offers several bands under one name."""


@dataclass(frozen=True)
class BandAsset:
    """Where a band lies within an item."""

    asset_key: str
    """Key of the asset."""
    index: int
    """Number of the band within the asset's file, from 1."""


def is_sentinel_2(item: Item) -> bool:
    """Whether an item says that it is of Sentinel-2: constellation, platform or collection."""
    properties = item["properties"]
    said = (properties.get("constellation"), properties.get("platform"), item.get("collection"))
    return any(
        str(word).casefold().startswith(("sentinel-2", "sentinel-s2", "sentinel2"))
        for word in said
        if word
    )


def bands_of(asset: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an asset says of its bands: STAC 1.1 ``bands``, else ``eo:bands``."""
    return asset.get("bands") or asset.get("eo:bands") or []


def find_band(item: Item, band: str) -> BandAsset:
    """Return where a band lies, by asset key, else band name, else common name.

    An exact name beats one in other letters, and that beats a synonym. Assets of a single band
    beat those of several; pictures (``visual``, previews) are never taken.

    Raises:
        BandError: If the item does not offer the band.
        AmbiguousBandError: If it offers several under that name.
    """
    spellings = _spellings(item, band)
    keyed = {key: asset for key, asset in item["assets"].items() if _holds_pixels(key, asset)}
    for wanted in spellings:
        if wanted in keyed and len(bands_of(keyed[wanted])) <= 1:
            return BandAsset(wanted, 1)
    for wanted in spellings:
        keys = [
            key
            for key, asset in keyed.items()
            if key.casefold() == wanted.casefold() and len(bands_of(asset)) <= 1
        ]
        if keys:
            return _the_one(item, band, [BandAsset(key, 1) for key in keys])
    for field in ("name", "common_name"):
        for wanted in spellings:
            found = list(_named(keyed, field, wanted))
            if found:
                return _the_one(item, band, found)
    raise BandError(f"scene {item['id']}: has no band {band!r}; it offers {_offer(keyed)}")


def find_offered_band(item: Item, band: str) -> BandAsset | None:
    """Return where a band lies, as ``find_band``; None if the item does not offer it.

    Raises:
        AmbiguousBandError: If it offers several under that name.
    """
    try:
        return find_band(item, band)
    except AmbiguousBandError:
        raise
    except BandError:
        return None


def _spellings(item: Item, band: str) -> list[str]:
    esa = esa_name(band)
    if esa is None or _other_sensor(item):
        return [band]
    # ``b4`` is a spelling of B04, but ``B4`` of another sensor is not; hence after the check.
    return list(dict.fromkeys((band, esa, *SENTINEL_2_NAMES[esa])))


def _other_sensor(item: Item) -> bool:
    """Whether the item names a sensor and it is not Sentinel-2, whose names mean other bands."""
    properties = item["properties"]
    named = bool(properties.get("constellation") or properties.get("platform"))
    return named and not is_sentinel_2(item)


def _holds_pixels(key: str, asset: dict[str, Any]) -> bool:
    roles = set(asset.get("roles") or ())
    media_type = str(asset.get("type") or "image/tiff")
    return key not in _PICTURES and not roles & _PICTURES and media_type.startswith(_RASTER_TYPES)


def _named(assets: dict[str, dict[str, Any]], field: str, wanted: str) -> Iterable[BandAsset]:
    """Bands whose field says ``wanted``; those that lie alone in their asset, if there are any."""
    found = [
        (len(bands_of(asset)), BandAsset(key, number))
        for key, asset in assets.items()
        for number, said in enumerate(bands_of(asset), start=1)
        if str(said.get(field) or said.get(f"eo:{field}") or "").casefold() == wanted.casefold()
    ]
    alone = [place for count, place in found if count == 1]
    return alone or [place for _, place in found]


def _the_one(item: Item, band: str, found: list[BandAsset]) -> BandAsset:
    if len(found) == 1:
        return found[0]
    places = ", ".join(f"{place.asset_key} (band {place.index})" for place in found)
    raise AmbiguousBandError(
        f"scene {item['id']}: band {band!r} is ambiguous; it could be {places}. Name one of these"
    )


def _offer(assets: dict[str, dict[str, Any]]) -> str:
    names = []
    for key, asset in assets.items():
        inside = [str(said["name"]) for said in bands_of(asset) if said.get("name")]
        names.append(key if inside in ([], [key]) else f"{key} ({', '.join(inside)})")
    return ", ".join(names) or "no raster at all"
