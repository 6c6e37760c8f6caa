"""When a scene was taken, and in which order scenes of one day count."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
from shapely.geometry import shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geo_assets.sources.protocol import Item

SECONDS_PER_DEGREE = 240
"""A day is 360 degrees of longitude."""


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

    UTC shifted by four minutes for each degree of longitude, as in odc-stac's ``solar_day``: a
    pass over New Zealand in the morning has the date it has there, not that of Greenwich.
    """
    west, _, east, _ = shape(item["geometry"]).bounds
    shift = dt.timedelta(seconds=int((west + east) / 2 * SECONDS_PER_DEGREE))
    return np.datetime64((scene_time(item) + shift).date())


def observation_order(items: Iterable[Item]) -> list[Item]:
    """Return items in order of precedence within a day: higher baseline first, then by id."""
    return sorted(items, key=lambda item: (-_baseline(item), str(item["id"])))


def _baseline(item: Item) -> float:
    try:
        return float(item["properties"].get("s2:processing_baseline") or 0)
    except ValueError:
        return 0.0
