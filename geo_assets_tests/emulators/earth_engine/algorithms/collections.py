"""Image collections and tables as lists of elements: load, filter, map, order, take."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geo_assets_tests.emulators.earth_engine.algorithms.geometries import longlat
from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    DateRange,
    Feature,
    Filter,
    Geometry,
    Image,
    ImageCollection,
    Table,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST_LIST = 5000


@algorithm("ImageCollection.load", assets=True)
def _load(assets: Any, id: str, version: int | None = None) -> ImageCollection:
    return assets.collection(id)


@algorithm("ImageCollection.fromImages")
def _from_images(images: Sequence[Image]) -> ImageCollection:
    return ImageCollection(
        tuple(image.with_properties(**{"system:index": str(n)}) for n, image in enumerate(images))
    )


@algorithm("ImageCollection.merge")
def _merge(collection1: ImageCollection, collection2: ImageCollection) -> ImageCollection:
    parts = [("1", collection1), ("2", collection2)]
    return ImageCollection(
        tuple(
            image.with_properties(
                **{"system:index": f"{number}_{image.properties.get('system:index')}"}
            )
            for number, collection in parts
            for image in collection.images
        )
    )


def elements(collection: Any) -> tuple[Any, ...]:
    """Return the elements of a collection, or of an image alone."""
    if isinstance(collection, ImageCollection):
        return collection.images
    if isinstance(collection, Table):
        return collection.features
    raise bad_request("A collection is wanted.")


def like(collection: Any, members: Sequence[Any]) -> Any:
    """Return a collection of the same kind; of what was mapped, its own."""
    if all(isinstance(member, Image) for member in members) and isinstance(
        collection, ImageCollection
    ):
        return ImageCollection(tuple(members))
    return Table(tuple(members))


@algorithm("Collection.filter")
def _filter(collection: Any, filter: Filter) -> Any:
    return like(collection, [member for member in elements(collection) if filter.keeps(member)])


@algorithm("Collection.map")
def _map(
    collection: Any,
    baseAlgorithm: Callable[[Any], Any],
    dropNulls: bool = False,
) -> Any:
    made = []
    for member in elements(collection):
        result = baseAlgorithm(member)
        if result is None and dropNulls:
            continue
        index = member.properties.get("system:index")
        made.append(replace(result, properties={**result.properties, "system:index": index}))
    return like(collection, made)


@algorithm("Collection.first")
def _first(collection: Any) -> Any:
    members = elements(collection)
    return members[0] if members else None


@algorithm("Collection.size")
def _size(collection: Any) -> int:
    return len(elements(collection))


@algorithm("Collection.toList")
def _to_list(collection: Any, count: int, offset: int = 0) -> list[Any]:
    if count > LONGEST_LIST:
        raise bad_request(
            f"Collection query aborted after accumulating over {LONGEST_LIST} elements."
        )
    return list(elements(collection)[offset : offset + count])


@algorithm("Collection.limit")
def _limit(
    collection: Any, limit: int | None = None, key: str | None = None, ascending: bool = True
) -> Any:
    members = list(elements(collection))
    if key is not None:
        members.sort(key=lambda member: member.properties.get(key), reverse=not ascending)
    return like(collection, members[:limit])


@algorithm("Date")
def _date(value: Any, timeZone: str | None = None) -> float:
    return milliseconds(value)


@algorithm("DateRange")
def _date_range(start: Any, end: Any = None, timeZone: str | None = None) -> DateRange:
    first = milliseconds(start)
    return DateRange(first, first + 1 if end is None else milliseconds(end))


def milliseconds(value: Any) -> float:
    """Return a time as the service counts: milliseconds since 1970, UTC."""
    if isinstance(value, int | float):
        return float(value)
    try:
        when = dt.datetime.fromisoformat(value)
    except ValueError:
        raise bad_request(f"Invalid date {value!r}.") from None
    return (when if when.tzinfo else when.replace(tzinfo=dt.UTC)).timestamp() * 1000


def _field(member: Any, name: str) -> Any:
    return member.properties.get(name)


@algorithm("Filter.dateRangeContains")
def _in_range(leftValue: DateRange, rightField: str) -> Filter:
    def keeps(member: Any) -> bool:
        when = _field(member, rightField)
        return when is not None and leftValue.start <= when < leftValue.end

    return Filter(keeps)


@algorithm("Filter.intersects")
def _intersects(leftField: str, rightValue: Any) -> Filter:
    area = longlat(rightValue) if isinstance(rightValue, Geometry) else rightValue.geometry

    def keeps(member: Any) -> bool:
        shape = member.geometry if isinstance(member, Feature) else member.footprint
        return shape is None or shape.intersects(area)

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


@algorithm("List.get")
def _list_get(list: list[Any], index: int) -> Any:
    return list[index]


@algorithm("List.map")
def _list_map(
    list: list[Any],
    baseAlgorithm: Callable[[Any], Any],
    dropNulls: bool = False,
) -> list[Any]:
    return [baseAlgorithm(item) for item in list]


@algorithm("Collection.aggregate_array", "AggregateFeatureCollection.array")
def _aggregate_array(collection: Any, property: str) -> list[Any]:
    return [_field(member, property) for member in elements(collection)]
