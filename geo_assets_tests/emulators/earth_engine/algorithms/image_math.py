"""Pixel by pixel: arithmetic, comparisons, logic, casts, and reducers over bands and images."""

# Argument names are the service's.

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Array,
    Band,
    Image,
    ImageCollection,
    Pixels,
    Projection,
    Reducer,
    bad_request,
    constant,
    mapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from odc.geo.geobox import GeoBox


def as_image(value: Any) -> Image:
    """Return an image of a number or a list of numbers; an image as it is."""
    return value if isinstance(value, Image) else constant(value)


def binary(
    left: Any, right: Any, function: Callable[[Array, Array], Array], dtype: str | None = None
) -> Image:
    """Return band by band what a function makes of two images; one band goes with all."""
    one, other = as_image(left), as_image(right)
    count = max(len(one.bands), len(other.bands))
    if {len(one.bands), len(other.bands)} - {1, count}:
        raise bad_request(
            f"Images have {len(one.bands)} and {len(other.bands)} bands, which do not pair."
        )
    named = one if len(one.bands) == count else other

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        parts = []
        for image in (one, other):
            single = len(image.bands) == 1
            got = image.pull(grid, [0] if single else list(wanted))
            parts.append(got * len(wanted) if single else got)
        return [
            (function(_wide(a), _wide(b)), ma & mb) for (a, ma), (b, mb) in zip(*parts, strict=True)
        ]

    bands = tuple(
        replace(
            band,
            dtype=dtype
            or _result(
                one.bands[min(n, len(one.bands) - 1)], other.bands[min(n, len(other.bands) - 1)]
            ),
        )
        for n, band in enumerate(named.bands)
    )
    return Image(bands, pull, one.properties, one.footprint)


def _wide(data: Array) -> Array:
    """Integers as 64 bits, so that nothing wraps; booleans as 0 and 1."""
    return data.astype(np.int64) if data.dtype.kind in "iub" else data.astype(np.float64)


def _result(one: Band, other: Band) -> str:
    kinds = {np.dtype(one.dtype).kind, np.dtype(other.dtype).kind}
    return "float64" if "f" in kinds else "int64"


def _binary(name: str, function: Callable[[Array, Array], Array], dtype: str | None = None) -> None:
    algorithm(name)(lambda image1, image2: binary(image1, image2, function, dtype))


def _divide(a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b == 0, 0.0, a / np.where(b == 0, 1, b))


_binary("Image.add", np.add)
_binary("Image.subtract", np.subtract)
_binary("Image.multiply", np.multiply)
_binary("Image.divide", _divide, "float64")
_binary("Image.mod", np.fmod)  # the sign of the dividend, as in Java
_binary("Image.max", np.maximum)
_binary("Image.min", np.minimum)
_binary("Image.gt", lambda a, b: (a > b).astype(np.uint8), "uint8")
_binary("Image.gte", lambda a, b: (a >= b).astype(np.uint8), "uint8")
_binary("Image.lt", lambda a, b: (a < b).astype(np.uint8), "uint8")
_binary("Image.lte", lambda a, b: (a <= b).astype(np.uint8), "uint8")
_binary("Image.eq", lambda a, b: (a == b).astype(np.uint8), "uint8")
_binary("Image.neq", lambda a, b: (a != b).astype(np.uint8), "uint8")
_binary("Image.and", lambda a, b: ((a != 0) & (b != 0)).astype(np.uint8), "uint8")
_binary("Image.or", lambda a, b: ((a != 0) | (b != 0)).astype(np.uint8), "uint8")


def _unary(name: str, function: Callable[[Array], Array], dtype: str | None = None) -> None:
    algorithm(name)(lambda value: mapped(value, function, dtype))


_unary("Image.floor", np.floor)
_unary("Image.ceil", np.ceil)
# Halves go up, as Java's Math.round.
_unary("Image.round", lambda data: np.floor(np.asarray(data, np.float64) + 0.5))
_unary("Image.abs", np.abs)
_unary("Image.not", lambda data: (data == 0).astype(np.uint8), "uint8")


def _cast(dtype: str) -> Callable[[Array], Array]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return lambda data: data.astype(kind)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return lambda data: np.clip(np.trunc(np.nan_to_num(_wide(data))), low, high).astype(kind)


for _name, _dtype in {
    "Uint8": "uint8",
    "Byte": "uint8",
    "Int8": "int8",
    "Uint16": "uint16",
    "Int16": "int16",
    "Short": "int16",
    "Uint32": "uint32",
    "Int32": "int32",
    "Int": "int32",
    "Int64": "int64",
    "Long": "int64",
    "Float": "float32",
    "Double": "float64",
}.items():
    _unary(f"Image.to{_name}", _cast(_dtype), _dtype)
    _unary(f"Image.{_name.lower()}", _cast(_dtype), _dtype)


def reduced(stack: Sequence[Pixels], reducer: Reducer) -> Pixels:  # noqa: PLR0911  # one a reducer
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
    exact = reducer.name in {"min", "max", "first", "last"}
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
def _reduce(collection: ImageCollection, reducer: Reducer, parallelScale: float = 1) -> Image:  # noqa: N803, ARG001
    return reduce_collection(collection, reducer, f"_{reducer.name}")


@algorithm("ImageCollection.mosaic")
def _mosaic(collection: ImageCollection) -> Image:
    return reduce_collection(collection, Reducer("last"))


@algorithm("Image.reduce")
def _reduce_bands(image: Image, reducer: Reducer) -> Image:
    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return [reduced(image.all(grid), reducer) for _ in wanted]

    first = image.bands[0] if image.bands else Band("")
    band = replace(first, name=reducer.name, dtype="float64")
    return Image((band,), pull, image.properties, image.footprint)


@algorithm("Image.where")
def _where(input: Image, test: Any, value: Any) -> Image:  # noqa: A002
    test, value = as_image(test), as_image(value)

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        answers = []
        tests, values = test.all(grid), value.all(grid)
        for position, (data, mask) in zip(wanted, input.pull(grid, wanted), strict=True):
            asked, known = tests[min(position, len(tests) - 1)]
            instead, there = values[min(position, len(values) - 1)]
            changes = (asked != 0) & known & there & mask
            answers.append((np.where(changes, instead, data), mask))
        return answers

    return replace(input, pull=pull, id=None)


@algorithm("Image.remap")
def _remap(
    image: Image,
    to: Sequence[float],
    defaultValue: float | None = None,  # noqa: N803
    bandName: str | None = None,  # noqa: N803
    **more: Sequence[float],
) -> Image:
    """``from`` is a word of Python: it comes among ``more``."""
    position = image.index(bandName) if bandName else 0
    origins = more["from"]

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        [(data, mask)] = image.pull(grid, [position])
        out = np.full(data.shape, 0 if defaultValue is None else defaultValue, np.float64)
        known = np.zeros(data.shape, bool)
        for origin, target in zip(origins, to, strict=True):
            hit = data == origin
            out[hit] = target
            known |= hit
        return [(out, mask if defaultValue is not None else mask & known) for _ in wanted]

    band = replace(image.bands[position], name="remapped", dtype="int32")
    return Image((band,), pull, image.properties, image.footprint)


@algorithm("Image.mask")
def _mask(image: Image, mask: Image | None = None) -> Image:
    if mask is not None:
        raise bad_request("Image.mask(mask) is unknown to this loopback service: use updateMask.")

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return [
            (known.astype(np.float64), np.ones(known.shape, bool))
            for _, known in image.pull(grid, wanted)
        ]

    bands = tuple(replace(band, dtype="float64") for band in image.bands)
    return Image(bands, pull, image.properties, image.footprint)


@algorithm("Image.updateMask")
def _update_mask(image: Image, mask: Any) -> Image:
    mask = as_image(mask)

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        masks = mask.all(grid)
        answers = []
        for position, (data, known) in zip(wanted, image.pull(grid, wanted), strict=True):
            value, there = masks[min(position, len(masks) - 1)]
            answers.append((data, known & there & (value != 0)))
        return answers

    return replace(image, pull=pull, id=None)


@algorithm("Image.unmask")
def _unmask(input: Image, value: Any = 0, sameFootprint: bool = True) -> Image:  # noqa: A002, N803, ARG001
    value = as_image(value)

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        values = value.all(grid)
        answers = []
        for position, (data, known) in zip(wanted, input.pull(grid, wanted), strict=True):
            instead, there = values[min(position, len(values) - 1)]
            answers.append((np.where(known, data, instead).astype(data.dtype), known | there))
        return answers

    return replace(input, pull=pull, id=None)


@algorithm("Image.focalMax", "Image.focal_max")
def _focal_max(  # noqa: PLR0917  # the service's arguments
    image: Image,
    radius: float = 1.5,
    kernelType: str = "circle",  # noqa: N803
    units: str = "pixels",
    iterations: int = 1,
    kernel: Any = None,
) -> Image:
    """A circle in pixels of the grid asked for; metres are those of the grid's CRS."""
    from scipy.ndimage import maximum_filter

    if kernelType != "circle" or iterations != 1 or kernel is not None:
        raise bad_request("Image.focalMax: this loopback service knows one circle.")

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        reach = radius / abs(grid.resolution.x) if units == "meters" else radius
        margin = int(np.ceil(reach))
        around = grid.pad(margin)
        y, x = np.mgrid[-margin : margin + 1, -margin : margin + 1]
        disk = x**2 + y**2 <= reach**2 + 1e-9
        inner = (slice(margin, margin + grid.shape.y), slice(margin, margin + grid.shape.x))
        answers = []
        for data, mask in image.pull(around, wanted):
            grown = maximum_filter(np.where(mask, data, -np.inf).astype(float), footprint=disk)
            answers.append(
                (np.where(np.isfinite(grown), grown, 0)[inner], np.isfinite(grown)[inner])
            )
        return answers

    return replace(image, pull=pull, id=None)
