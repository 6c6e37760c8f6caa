"""Which of the scenes found are used: the rules alone, without catalogs and without pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shapely import make_valid
from shapely.errors import ShapelyError
from shapely.geometry import box, shape

from geo_assets.sources.protocol import LeftOut, SceneSelection
from geo_assets.sources.scenes.band_keys import BandError, find_band, find_offered_band
from geo_assets.sources.scenes.mgrs_tiles import mgrs_tile
from geo_assets.sources.scenes.order import (
    baseline_number,
    observation_order,
    scene_time,
    solar_day,
)
from geo_assets.sources.scenes.processing import baseline_property

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from shapely import Polygon
    from shapely.geometry.base import BaseGeometry

    from geo_assets.sources.protocol import Item, SceneQuery


_SAME_GROUND = 0.5
"""Share of a scene's footprint that its later processing covers at least."""


def choose_scenes(
    found: Iterable[Item], query: SceneQuery, damaged: Iterable[LeftOut] = ()
) -> SceneSelection:
    """Return the scenes to use in fixed order, and those left out with the first reason that holds.

    Days are solar days, the same that scenes are fused by. An item found twice is used once: of two
    processing baselines the higher, in whatever order they were found. So is an acquisition that
    was processed twice under different ids.

    Args:
        found: STAC items in any order.
        query: What is wanted.
        damaged: Scenes whose record could not be read at all.
    """
    area = query.box.wgs84_polygon()
    usable: dict[tuple[str, str], list[Item]] = {}
    left_out = list(damaged)
    for item in found:
        reason = _reason(item, query, area)
        if reason is not None:
            left_out.append(reason)
        else:
            usable.setdefault((str(item.get("collection")), str(item["id"])), []).append(item)
    used: list[Item] = []
    for same in usable.values():
        newest, *others = sorted(same, key=_precedence) if len(same) > 1 else same
        used.append(newest)
        left_out += [_duplicate(other, newest) for other in others]
    used, superseded = _latest_processings(used)
    left_out += superseded
    used.sort(key=_order)
    left_out.sort(key=lambda out: (out.scene_id, out.reason, out.detail))
    return SceneSelection(used, left_out)


def _precedence(item: Item) -> tuple[float, str]:
    """Higher baseline first; the text decides between equal ones, as the search's order may not."""
    return -baseline_number(item), json.dumps(item, sort_keys=True, default=str)


def _duplicate(item: Item, used: Item) -> LeftOut:
    detail = f"found more than once in {item.get('collection')}"
    if baseline_number(item) < baseline_number(used):
        detail += f"; used is {_baseline_words(used)}, not {_baseline_words(item)}"
    return LeftOut(item["id"], "duplicate", detail)


def _latest_processings(items: Sequence[Item]) -> tuple[list[Item], list[LeftOut]]:
    """Return the items to use, and those of an acquisition whose later processing is used."""
    of_one_acquisition: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        if (name := _acquisition(item)) is not None:
            of_one_acquisition.setdefault(name, []).append(item)
    superseded: dict[int, LeftOut] = {}
    for several in of_one_acquisition.values():
        ranked = observation_order(several)
        for rank, item in enumerate(ranked):
            later = next((other for other in ranked[:rank] if _supersedes(other, item)), None)
            if later is not None:
                detail = f"{later['id']} is used, {_baseline_words(later)} of the same acquisition"
                superseded[id(item)] = LeftOut(
                    item["id"], "superseded", f"{_baseline_words(item)}; {detail}"
                )
    return [item for item in items if id(item) not in superseded], list(superseded.values())


def _acquisition(item: Item) -> tuple[str, ...] | None:
    """Return what names an acquisition in its collection; None for items that do not say."""
    platform, tile = item["properties"].get("platform"), mgrs_tile(item)
    if platform is None or tile is None or baseline_property(item) is None:
        return None
    return str(item.get("collection")), str(platform).lower(), str(scene_time(item)), tile


def _supersedes(later: Item, item: Item) -> bool:
    """Whether the baseline is higher and the ground the same.

    Two parts of a tile, from two strips of one pass, may state one time: both are needed.
    """
    if baseline_number(later) <= baseline_number(item):
        return False
    ground, earlier = (make_valid(shape(each["geometry"])) for each in (later, item))
    return bool(ground.intersection(earlier).area >= _SAME_GROUND * earlier.area)


def _baseline_words(item: Item) -> str:
    name = baseline_property(item)
    return "the one without a baseline" if name is None else f"baseline {item['properties'][name]}"


def _order(item: Item) -> tuple[dt.datetime, str, str]:
    return scene_time(item), str(item["id"]), str(item.get("collection"))


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
