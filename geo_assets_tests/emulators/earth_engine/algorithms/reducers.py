"""Many values to one: reducers over the images of a collection, or the bands of an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Array,
    Band,
    Image,
    ImageCollection,
    Pixels,
    Reducer,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox


_EXACT = {"min", "max", "first", "last"}
"""Reducers that give one of the values: in their dtype."""


def reduced(stack: Sequence[Pixels], reducer: Reducer) -> Pixels:  # one a reducer
    """Return one value a pixel of many, of those that are not masked."""
    mask = np.stack([part[1] for part in stack])
    known = mask.any(axis=0)
    if reducer.name == "median":
        return _median([part[0] for part in stack], mask), known
    data = np.stack([np.asarray(part[0], np.float64) for part in stack])
    match reducer.name:
        case "mean":
            count = np.maximum(mask.sum(axis=0), 1)
            return np.where(mask, data, 0).sum(axis=0) / count, known
        case "sum":
            return np.where(mask, data, 0).sum(axis=0), known
        case "count":
            return mask.sum(axis=0), np.ones(known.shape, bool)
        case "min":
            return np.where(known, np.where(mask, data, np.inf).min(axis=0), 0), known
        case "max":
            return np.where(known, np.where(mask, data, -np.inf).max(axis=0), 0), known
        case "first":
            return np.take_along_axis(data, mask.argmax(axis=0)[None], 0)[0], known
        case "last":
            last = len(mask) - 1 - mask[::-1].argmax(axis=0)
            return np.take_along_axis(data, last[None], 0)[0], known
    raise bad_request(f"Reducer.{reducer.name} is unknown to this loopback service.")


def _median(layers: Sequence[Array], mask: Array) -> Array:
    """Return the median of what is not masked, float64; 0 where everything is.

    Values are sorted in their own dtype, the masked ones behind the others.
    """
    data = np.stack(layers)
    if mask.all():
        data.sort(axis=0)
        middle = len(data) // 2
        return (data[(len(data) - 1) // 2].astype(np.float64) + data[middle]) / 2
    wide = np.where(mask, data, np.inf)
    wide.sort(axis=0)
    count = mask.sum(axis=0)
    low = np.take_along_axis(wide, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    high = np.take_along_axis(wide, count[None] // 2, 0)[0]
    return np.where(count > 0, (low + high) / 2, 0)


def reduce_collection(collection: ImageCollection, reducer: Reducer, suffix: str = "") -> Image:
    """Return one image of many, band by band; it has the default projection and no edges."""
    if not collection.images:
        return Image((), lambda grid, wanted: [])  # noqa: ARG005  # a pull's arguments
    first = collection.images[0]
    exact = reducer.name in _EXACT
    bands = tuple(
        Band(band.name + suffix, band.dtype if exact else "float64") for band in first.bands
    )
    names = first.named()

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        pulled = [
            image.pull(grid, [image.index(names[position]) for position in wanted])
            for image in collection.images
        ]
        answers = []
        for number, position in enumerate(wanted):
            data, mask = reduced([parts[number] for parts in pulled], reducer)
            answers.append((data.astype(bands[position].dtype), mask))
        return answers

    return Image(bands, pull)


for _name in ("median", "mean", "min", "max", "sum", "count"):
    algorithm(f"reduce.{_name}")(
        lambda collection, name=_name: reduce_collection(collection, Reducer(name))
    )
    algorithm(f"Reducer.{_name}")(lambda name=_name, **_: Reducer(name))
algorithm("Reducer.first")(lambda: Reducer("first"))
algorithm("Reducer.last")(lambda: Reducer("last"))


@algorithm("ImageCollection.reduce")
def _reduce(collection: ImageCollection, reducer: Reducer, parallelScale: float = 1) -> Image:
    return reduce_collection(collection, reducer, f"_{reducer.name}")


@algorithm("ImageCollection.mosaic")
def _mosaic(collection: ImageCollection) -> Image:
    return reduce_collection(collection, Reducer("last"))


@algorithm("Image.reduce")
def _reduce_bands(image: Image, reducer: Reducer) -> Image:
    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return [reduced(image.all(grid), reducer) for _ in wanted]

    dtypes = [band.dtype for band in image.bands] if reducer.name in _EXACT else ["float64"]
    first = image.bands[0] if image.bands else Band("")
    band = replace(first, name=reducer.name, dtype=str(np.result_type(*dtypes or ["float64"])))
    return replace(image, bands=(band,), pull=pull, id=None)
