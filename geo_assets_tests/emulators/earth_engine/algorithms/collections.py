"""Image collections and tables as lists of elements: load, filter, map, order, take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Filter,
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
    """Return the collection that the members make; without any, one of the same kind."""
    images = isinstance(members[0] if members else None, Image)
    if images or (not members and isinstance(collection, ImageCollection)):
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
    """Return the values of a property, of the elements that have it."""
    values = [member.properties.get(property) for member in elements(collection)]
    return [value for value in values if value is not None]


@algorithm("List.size", "List.length")
def _list_size(list: list[Any]) -> int:
    return len(list)
