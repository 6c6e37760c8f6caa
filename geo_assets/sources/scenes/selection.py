"""Which of the scenes found are used: the rules alone, without catalogs and without pixels."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from shapely import make_valid
from shapely.errors import ShapelyError
from shapely.geometry import box, shape

from geo_assets.sources.protocol import LeftOut, SceneSelection
from geo_assets.sources.scenes.band_keys import BandError, find_band, find_offered_band
from geo_assets.sources.scenes.order import scene_time, solar_day

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shapely import Polygon
    from shapely.geometry.base import BaseGeometry

    from geo_assets.sources.protocol import Item, SceneQuery


def choose_scenes(
    found: Iterable[Item], query: SceneQuery, damaged: Iterable[LeftOut] = ()
) -> SceneSelection:
    """Return the scenes to use in fixed order, and those left out with the first reason that holds.

    Days are solar days, the same that scenes are fused by. An item found twice is used once.

    Args:
        found: STAC items in any order.
        query: What is wanted.
        damaged: Scenes whose record could not be read at all.
    """
    area = query.box.wgs84_polygon()
    used: dict[tuple[str, str], Item] = {}
    left_out = list(damaged)
    for item in sorted(found, key=_order):
        reason = _reason(item, query, area)
        name = (str(item.get("collection")), str(item.get("id")))
        if reason is None and name in used:
            reason = LeftOut(item["id"], "duplicate", f"found more than once in {name[0]}")
        if reason is not None:
            left_out.append(reason)
        else:
            used[name] = item
    left_out.sort(key=lambda out: (out.scene_id, out.reason, out.detail))
    return SceneSelection(list(used.values()), left_out)


def _order(item: Item) -> tuple[dt.datetime, str, str]:
    try:
        when = scene_time(item)
    except (KeyError, TypeError, ValueError):
        when = dt.datetime.min.replace(tzinfo=dt.UTC)
    return when, str(item.get("id")), str(item.get("collection"))


def _reason(item: Item, query: SceneQuery, area: Polygon) -> LeftOut | None:
    try:
        _ = item["id"], item["assets"].items()
        day = solar_day(item).item()
        footprint = shape(item["geometry"])
        stated = item["properties"].get("eo:cloud_cover")
        cloud = None if stated is None else float(stated)
    except (KeyError, TypeError, ValueError, AttributeError, ShapelyError) as error:
        return LeftOut(
            str(item.get("id")),
            "damaged",
            "the item has no usable id, date, geometry or assets, or an unusable eo:cloud_cover: "
            f"{error!r}",
        )
    if not query.start <= day <= query.end:
        return LeftOut(item["id"], "outside_dates", f"{day} is not in {query.start} … {query.end}")
    if not _overlap(footprint, area):
        return LeftOut(item["id"], "no_overlap", "its footprint does not meet the area")
    if cloud is not None and cloud > query.max_cloud:
        return LeftOut(item["id"], "cloud", f"{cloud:g} % > {query.max_cloud:g} %")
    try:
        for band in query.bands:
            find_band(item, band)
        if query.scl_band is not None:
            find_offered_band(item, query.scl_band)
    except BandError as error:
        return LeftOut(item["id"], "missing_band", str(error))
    return None


def _overlap(footprint: BaseGeometry, area: Polygon) -> bool:
    """Whether they share more than an edge; a footprint that crosses itself is mended first."""
    if not box(*footprint.bounds).intersects(area):
        return False
    whole = footprint if footprint.is_valid else make_valid(footprint)
    return bool(whole.intersects(area) and not whole.touches(area))
