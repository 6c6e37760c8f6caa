"""Times and spans of time, all UTC."""

from __future__ import annotations

import datetime as dt
from typing import Any

from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import Date, DateRange, Image, bad_request


@algorithm("Date")
def _date(value: Any, timeZone: str | None = None) -> Date:
    return Date(milliseconds(value))


@algorithm("Date.fromYMD")
def _from_ymd(year: int, month: int, day: int, timeZone: str | None = None) -> Date:
    return Date(milliseconds(dt.date(year, month, day).isoformat()))


@algorithm("DateRange")
def _date_range(start: Any, end: Any = None, timeZone: str | None = None) -> DateRange:
    first = milliseconds(start)
    return DateRange(first, first + 1 if end is None else milliseconds(end))


@algorithm("Date.millis")
def _millis(date: Any) -> float:
    return milliseconds(date)


@algorithm("Image.date")
def _image_date(image: Image) -> Date:
    return Date(milliseconds(image.properties["system:time_start"]))


def milliseconds(value: Any) -> float:
    """Return a time as the service counts: milliseconds since 1970, UTC."""
    if isinstance(value, Date):
        return value.milliseconds
    if isinstance(value, int | float):
        return float(value)
    # A year or a month alone begins with its first day.
    missing = {4: "-01-01", 7: "-01"}.get(len(str(value)), "")
    try:
        when = dt.datetime.fromisoformat(f"{value}{missing}")
    except ValueError:
        raise bad_request(f"Invalid date {value!r}.") from None
    return (when if when.tzinfo else when.replace(tzinfo=dt.UTC)).timestamp() * 1000


def moment(value: Any) -> dt.datetime:
    """Return a time of the service as the standard library's."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds(value))
