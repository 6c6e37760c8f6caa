"""Pixel by pixel: arithmetic, comparisons, logic and casts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets_tests.emulators.earth_engine.algorithms.image_structure import select
from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Array,
    Band,
    Image,
    Pixels,
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
    if len(one.bands) > 1 and set(one.named()) == set(other.named()):
        other = select(other, one.named())

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
    # The service keeps an image's name through arithmetic, not what else it knows of it.
    kept = {n: v for n, v in named.properties.items() if n == "system:index"}
    return Image(bands, pull, kept, named.footprint, reach=named.reach)


def _wide(data: Array) -> Array:
    """Integers as 64 bits, so that nothing wraps; booleans as 0 and 1."""
    return data.astype(np.int64) if data.dtype.kind in "iub" else data.astype(np.float64)


def _result(one: Band, other: Band) -> str:
    kinds = {np.dtype(one.dtype).kind, np.dtype(other.dtype).kind}
    return "float64" if "f" in kinds else "int64"


def _binary(name: str, function: Callable[[Array, Array], Array], dtype: str | None = None) -> None:
    algorithm(name)(lambda image1, image2: binary(image1, image2, function, dtype))


def _divide(a: Array, b: Array) -> Array:
    return np.where(b == 0, 0.0, a / np.where(b == 0, 1, b))


def _remainder(a: Array, b: Array) -> Array:
    """The remainder, with the sign of the dividend as in Java; 0 of a division by 0."""
    return np.where(b == 0, 0, np.fmod(a, np.where(b == 0, 1, b)))


_binary("Image.add", np.add)
_binary("Image.subtract", np.subtract)
_binary("Image.multiply", np.multiply)
_binary("Image.divide", _divide, "float64")
_binary("Image.mod", _remainder)
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
