"""When a scene was taken, and in which order scenes of one day count."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
from shapely.geometry import shape
from shapely.geometry.base import BaseMultipartGeometry

from geo_assets.sources.scenes.processing import baseline_property

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shapely.geometry.base import BaseGeometry

    from geo_assets.sources.protocol import Item

DEGREES_PER_HOUR = 15
HALF_TURN = 180
MIDNIGHT = dt.time(0)


def scene_time(item: Item) -> dt.datetime:
    """Return when a scene was taken, in UTC: ``datetime``, else ``start_datetime``.

    Raises:
        ValueError: If neither is a time (KeyError if neither is there).
    """
    properties = item["properties"]
    said = properties.get("datetime") or properties["start_datetime"]
    when = dt.datetime.fromisoformat(str(said))
    return when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)


def solar_day(item: Item) -> np.datetime64[dt.date]:
    """Return the day of a scene by the sun over its middle, datetime64[D].

    UTC shifted by a whole hour for each 15 degrees of longitude, as in odc-stac's ``solar_day``: a
    pass over New Zealand in the morning has the date it has there, not that of Greenwich. Exactly
    midnight is how records without a time of day (NAIP) write a date: it is kept as it is.
    """
    when = scene_time(item)
    if when.time() != MIDNIGHT:
        when += solar_shift(_middle_longitude(shape(item["geometry"])))
    return np.datetime64(when.date())


def _middle_longitude(footprint: BaseGeometry) -> float:
    """Return the longitude of a footprint's middle; if it is cut at 180°, of its larger part.

    The middle of both parts would lie at 0°, on the other side of the earth.
    """
    west, _, east, _ = footprint.bounds
    if east - west > HALF_TURN and isinstance(footprint, BaseMultipartGeometry):
        west, _, east, _ = max(footprint.geoms, key=lambda part: part.area).bounds
    return float((west + east) / 2)


def solar_shift(longitude: float) -> dt.timedelta:
    """Return what the sun's time is ahead of UTC, in whole hours."""
    return dt.timedelta(hours=int(longitude / DEGREES_PER_HOUR))


def observation_order(items: Iterable[Item]) -> list[Item]:
    """Return items in order of precedence within a day: higher baseline first, then by id."""
    return sorted(items, key=lambda item: (-baseline_number(item), str(item["id"])))


def baseline_number(item: Item) -> float:
    """Return the processing baseline of a scene, 5.0 for ``05.00``; 0 if it states none."""
    name = baseline_property(item)
    try:
        return 0.0 if name is None else float(item["properties"][name])
    except (TypeError, ValueError):
        return 0.0
