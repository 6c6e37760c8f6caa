"""Filters: which elements of a collection are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets_tests.emulators.earth_engine.algorithms.dates import moment
from geo_assets_tests.emulators.earth_engine.algorithms.geometries import longlat
from geo_assets_tests.emulators.earth_engine.algorithms.image_structure import as_geometry
from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Date,
    DateRange,
    Feature,
    Filter,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _field(member: Any, name: str) -> Any:
    return member.properties.get(name)


@algorithm("Filter.dateRangeContains")
def _in_range(leftValue: DateRange, rightField: str) -> Filter:
    def keeps(member: Any) -> bool:
        when = _field(member, rightField)
        when = when.milliseconds if isinstance(when, Date) else when
        return when is not None and leftValue.start <= when < leftValue.end

    return Filter(keeps)


@algorithm("Filter.intersects")
def _intersects(leftField: str, rightValue: Any, maxError: Any = None) -> Filter:
    area = longlat(as_geometry(rightValue))

    def keeps(member: Any) -> bool:
        if isinstance(member, Feature):
            return member.geometry is not None and member.geometry.intersects(area)
        return member.footprint is None or member.footprint.intersects(area)

    return Filter(keeps)


_CALENDAR: dict[str, Callable[[Any], int]] = {
    "year": lambda when: when.year,
    "month": lambda when: when.month,
    "day_of_year": lambda when: when.timetuple().tm_yday,
    "day_of_month": lambda when: when.day,
    "day_of_week": lambda when: when.isoweekday(),
    "hour": lambda when: when.hour,
    "minute": lambda when: when.minute,
}


@algorithm("Filter.calendarRange")
def _calendar_range(start: int, end: int | None = None, field: str = "day_of_year") -> Filter:
    """From a value to another, both kept; across the turn of the year if it is the smaller."""
    if field not in _CALENDAR:
        raise bad_request(f"Filter.calendarRange: the field {field!r} is unknown.")
    last = start if end is None else end

    def keeps(member: Any) -> bool:
        when = _field(member, "system:time_start")
        if when is None:
            return False
        value = _CALENDAR[field](moment(when))
        if last < start:
            return value >= start or value <= last
        return start <= value <= last

    return Filter(keeps)


def _comparison(name: str, holds: Callable[[Any, Any], bool]) -> None:
    def make(
        leftField: str | None = None,
        rightValue: Any = None,
        rightField: str | None = None,
        leftValue: Any = None,
    ) -> Filter:
        def keeps(member: Any) -> bool:
            left = leftValue if leftField is None else _field(member, leftField)
            right = rightValue if rightField is None else _field(member, rightField)
            return left is not None and right is not None and holds(left, right)

        return Filter(keeps)

    algorithm(name)(make)


_comparison("Filter.equals", lambda left, right: left == right)
_comparison("Filter.notEquals", lambda left, right: left != right)
_comparison("Filter.lessThan", lambda left, right: left < right)
_comparison("Filter.lessThanOrEquals", lambda left, right: left <= right)
_comparison("Filter.greaterThan", lambda left, right: left > right)
_comparison("Filter.greaterThanOrEquals", lambda left, right: left >= right)
_comparison("Filter.listContains", lambda left, right: right in left)


@algorithm("Filter.and")
def _and(filters: Sequence[Filter]) -> Filter:
    return Filter(lambda member: all(each.keeps(member) for each in filters))


@algorithm("Filter.or")
def _or(filters: Sequence[Filter]) -> Filter:
    return Filter(lambda member: any(each.keeps(member) for each in filters))


@algorithm("Filter.not")
def _not(filter: Filter) -> Filter:
    return Filter(lambda member: not filter.keeps(member))
