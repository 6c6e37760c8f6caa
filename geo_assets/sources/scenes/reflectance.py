"""The offset of digital numbers: found in a scene's metadata, applied once.

Since processing baseline 04.00 (January 2022, and all of Collection 1) Sentinel-2 products hold
reflectance × 10 000 + 1 000, so that dark pixels need not be negative; some archives have taken
the 1 000 off again and say so. Data stay in digital numbers: only the offset is applied, never
the scale. Source: ESA, Sentinel-2 Products Specification Document 14.9, BOA_ADD_OFFSET.
"""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.band_names import REFLECTANCE_BANDS, esa_name
from geo_assets.errors import SourceError
from geo_assets.sources.scenes.band_keys import bands_of, is_sentinel_2
from geo_assets.sources.scenes.processing import (
    BASELINE,
    LEGACY_OFFSET_APPLIED,
    OFFSET_APPLIED,
    baseline_property,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geo_assets.sources.protocol import Item

BASELINE_WITH_OFFSET = (4, 0)
BASELINE_OFFSET = -1000
"""What is added to digital numbers of products since that baseline."""

_NAMES = ("name", "common_name", "eo:common_name")
_WHOLE = 1e-3
"""How far offset / scale may lie from a whole number: -0.1 / 0.0001 is not quite -1000."""


def digital_number_offset(
    item: Item, asset_key: str, collection_rules: Mapping[str, int], *, index: int = 1
) -> int:
    """Return what has to be added to a band's digital numbers so that 0 means reflectance 0.

    The first that says something decides: ``earthsearch:boa_offset_applied`` when true,
    ``raster:bands`` with an offset, ``s2:processing_baseline``, the rule for the item's
    collection. Earth Search states an offset of -0.1 also for files it has corrected: hence the
    order. A stated offset that is no whole number (Landsat Collection 2: -0.2 / 2.75e-05) cannot
    be applied to digital numbers: then the rule decides. Only reflectance bands of Sentinel-2 must
    be decided; other data without a stated offset have none.

    Args:
        item: STAC item.
        asset_key: Key of the band's asset.
        collection_rules: Offset in digital numbers by collection id.
        index: Number of the band within the asset, from 1.

    Raises:
        SourceError: If it stays undecided: nothing is stated, or no whole number, without a rule.
    """
    asset = item["assets"][asset_key]
    reflectance = is_sentinel_2(item) and _is_reflectance(asset_key, asset, index)
    properties = item["properties"]
    if reflectance and any(
        properties.get(flag) is True for flag in (OFFSET_APPLIED, LEGACY_OFFSET_APPLIED)
    ):
        return 0
    collection = str(item.get("collection"))
    stated = _stated_offset(item, asset_key, index)
    if stated is not None and abs(stated - round(stated)) <= _WHOLE:
        return round(stated)
    if stated is not None:
        if collection in collection_rules:
            return collection_rules[collection]
        raise SourceError(
            f"scene {item['id']}, asset {asset_key!r}, raster:bands: offset / scale = {stated:g} "
            "is no whole digital number, so that it cannot be applied without changing the dtype. "
            "State in the campaign what is added to the bands of the collection instead: "
            f"imagery.offsets: {{{collection}: {round(stated)}}} (the nearest) or "
            f"{{{collection}: 0}} (nothing)"
        )
    if not reflectance:
        return 0
    field = baseline_property(item)
    if field is not None:
        return BASELINE_OFFSET if _baseline(item, field) >= BASELINE_WITH_OFFSET else 0
    if collection in collection_rules:
        return collection_rules[collection]
    raise SourceError(
        f"scene {item['id']}, asset {asset_key!r}: nothing says whether its digital numbers carry "
        f"an offset: no {OFFSET_APPLIED}, no offset in raster:bands, no {BASELINE}. "
        f"State it in the campaign: imagery.offsets: {{{collection}: 0}} (none, or taken off "
        f"already) or {{{collection}: {BASELINE_OFFSET}}} (to be taken off)"
    )


def add_offset(
    data: NDArray[Any], valid: NDArray[np.bool_], offset: int, nodata: float | None = 0
) -> None:
    """Add an offset to data where they are valid, in place.

    Numbers are widened first. Unsigned ones are clamped to 1 … the dtype's largest, so that none
    wraps, 0 stays free for no-data, and no datum becomes no-data. Signed ones are clamped to their
    dtype.

    Args:
        data: (y, x).
        valid: (y, x), True where there is a datum; elsewhere data are left as they are.
        offset: To add, in digital numbers.
        nodata: The value that means no-data in ``data``; no datum is given it.
    """
    if offset == 0:
        return
    if data.dtype.kind == "f":
        np.add(data, data.dtype.type(offset), out=data, where=valid)
        return
    from geo_assets.core.kernels.offset import add_clamped

    info = np.iinfo(data.dtype)
    low, high = 1 if data.dtype.kind == "u" else int(info.min), int(info.max)
    within = nodata is not None and low <= nodata <= high and float(nodata).is_integer()
    avoided = int(nodata) if nodata is not None and within else low - 1
    instead = avoided + 1 if avoided < high else avoided - 1
    add_clamped(data, valid, offset, low, high, avoided, instead)


def raster_band(asset: dict[str, Any], index: int) -> dict[str, Any]:
    """Return what an asset says of a band's raster: nodata, scale, offset, data_type, if anything.

    Understood are ``raster:bands`` (raster extension 1) and ``bands`` with ``raster:`` fields
    (raster extension 2, STAC 1.1), in the band or for the whole asset.
    """
    listed = asset.get("raster:bands") or []
    if listed:
        chosen = listed[index - 1] if index <= len(listed) else {}
        return dict(chosen)
    bands = bands_of(asset)
    own = bands[index - 1] if index <= len(bands) else {}
    said = {**asset, **own}
    names = {"nodata": "nodata", "data_type": "data_type"}
    names |= {"raster:scale": "scale", "raster:offset": "offset"}
    return {short: said[name] for name, short in names.items() if said.get(name) is not None}


def _is_reflectance(asset_key: str, asset: dict[str, Any], index: int) -> bool:
    """Whether a band of Sentinel-2 holds reflectance, by any of the names it is found by."""
    bands = bands_of(asset)
    said = bands[index - 1] if index <= len(bands) else {}
    return any(
        _names_reflectance(str(name))
        for name in (asset_key, *(said.get(field) for field in _NAMES))
        if name
    )


@functools.lru_cache(maxsize=1024)  # asked for every window
def _names_reflectance(name: str) -> bool:
    # As files of ESA are called: B04_10m.
    plain = re.sub(r"_(10|20|60)m$", "", name.casefold())
    return plain == "rededge" or esa_name(plain) in REFLECTANCE_BANDS


def _stated_offset(item: Item, asset_key: str, index: int) -> float | None:
    """Return offset / scale as an item states them, in digital numbers."""
    raster = raster_band(item["assets"][asset_key], index)
    if raster.get("offset") is None:
        return None
    try:
        stated = float(raster["offset"]) / float(raster.get("scale") or 1.0)
    except (TypeError, ValueError):
        stated = math.nan
    if not math.isfinite(stated):
        raise SourceError(
            f"scene {item['id']}, asset {asset_key!r}, raster:bands: scale and offset must be "
            f"finite numbers, not {raster}"
        )
    return stated


def _baseline(item: Item, field: str) -> tuple[int, int]:
    """Split a baseline such as '05.10' into numbers, which texts and floats do not compare as."""
    value = str(item["properties"][field])
    major, _, minor = value.partition(".")
    if not (major.isdigit() and (minor.isdigit() or not minor)):
        raise SourceError(f"scene {item['id']}: {field} is {value!r}; it must be like '04.00'")
    return int(major), int(minor or 0)
