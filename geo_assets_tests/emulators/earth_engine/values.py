"""What expressions are made of: projections, images, collections, features, filters, reducers.

An image is lazy: it knows its bands and how to give their pixels on any grid (``pull``). Every
algorithm wraps the ``pull`` of its inputs, as the service's own do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geo_assets_tests.emulators.earth_engine.service_errors import ServiceError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Array = NDArray[Any]
Pixels = tuple[Array, NDArray[np.bool_]]
"""Values (y, x) and where they are not masked (y, x)."""
Pull = Callable[[GeoBox, Sequence[int]], list[Pixels]]
"""Gives the pixels of some bands, by position, on a grid."""


def bad_request(message: str) -> ServiceError:
    """Return the error of a request that the service cannot answer, whoever asks again."""
    return ServiceError(400, "INVALID_ARGUMENT", message)


@dataclass(frozen=True)
class Projection:
    """A CRS and the pixels in it."""

    crs: str
    transform: Affine

    def window(self, grid: GeoBox) -> tuple[int, int] | None:
        """Row and column of a grid on this lattice; None if it is no window of it."""
        if str(grid.crs) != self.crs:
            return None
        own, its = self.transform, grid.affine
        if not np.allclose(own[:2] + own[3:5], its[:2] + its[3:5], rtol=1e-9, atol=1e-12):
            return None
        col, row = ~own @ (its.c, its.f)
        if abs(col - round(col)) > 1e-6 or abs(row - round(row)) > 1e-6:
            return None
        return round(row), round(col)


DEFAULT = Projection("EPSG:4326", Affine(1, 0, 0, 0, -1, 0))
"""The projection of every composite: degrees, whatever its images had."""


_REMEMBERED = 64
"""Bands on grids whose pixels are kept while an expression is answered."""


@dataclass(frozen=True)
class Band:
    """Name, dtype and pixels of one band."""

    name: str
    dtype: str = "float64"
    projection: Projection = DEFAULT
    shape: tuple[int, int] | None = None
    """Rows and columns; None where the image has no edges."""


@dataclass(frozen=True)
class Image:
    """A lazy image."""

    bands: tuple[Band, ...]
    pull: Pull
    properties: dict[str, Any] = field(default_factory=dict)
    footprint: BaseGeometry | None = None
    """In longitude and latitude; None: without edges."""
    id: str | None = None
    version: int | None = None
    reach: Callable[[GeoBox], NDArray[np.bool_]] | None = None
    """Which pixels of a grid (y, x) lie within the edges; None: every one."""

    def named(self) -> list[str]:
        """Return the names of the bands."""
        return [band.name for band in self.bands]

    def all(self, grid: GeoBox) -> list[Pixels]:
        """Return the pixels of every band."""
        return self.pull(grid, range(len(self.bands)))

    def index(self, selector: str | float) -> int:
        """Return the position of a band by name or number."""
        if isinstance(selector, int | float):
            if not 0 <= selector < len(self.bands):
                raise bad_request(
                    f"Image.select: Band number {selector} of an image of {len(self.bands)} bands."
                )
            return int(selector)
        try:
            return self.named().index(selector)
        except ValueError:
            raise bad_request(
                f"Image.select: Band pattern '{selector}' was applied to an Image with no matching"
                f" bands. Available bands: [{', '.join(self.named())}]"
            ) from None

    def matching(self, selector: str | float) -> list[int]:
        """Return the positions of the bands that a name, a pattern or a number selects."""
        if not isinstance(selector, str) or selector in self.named():
            return [self.index(selector)]
        try:
            found = [n for n, name in enumerate(self.named()) if re.fullmatch(selector, name)]
        except re.error as error:
            raise bad_request(f"Image.select: Invalid pattern {selector!r}: {error}.") from None
        return found or [self.index(selector)]

    def with_properties(self, **changes: Any) -> Image:
        """Return the image with properties set."""
        return replace(self, properties=self.properties | changes)


def mapped(image: Image, change: Callable[[Array], Array], dtype: str | None = None) -> Image:
    """Return an image whose every band is changed pixel by pixel."""

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return [(change(data), mask) for data, mask in image.pull(grid, wanted)]

    bands = tuple(replace(band, dtype=dtype or band.dtype) for band in image.bands)
    return replace(image, bands=bands, pull=pull, id=None)


def remembered(image: Image) -> Image:
    """Return an image that makes the pixels of its bands once a grid; only of the last few grids.

    Many threads may pull it: at worst two make the same pixels.
    """
    made: dict[tuple[Any, ...], Pixels] = {}

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        place = (str(grid.crs), tuple(grid.affine), tuple(grid.shape))
        found = {position: made.get((place, position)) for position in wanted}
        missing = [position for position, part in found.items() if part is None]
        if missing:
            parts = image.pull(grid, missing)
            if len(made) > _REMEMBERED:
                made.clear()
            for position, part in zip(missing, parts, strict=True):
                found[position] = made[place, position] = part
        return [found[position] for position in wanted]

    return replace(image, pull=pull)


def dtype_of(value: float) -> str:
    """Return the smallest dtype that holds an integer; float64 for any other number."""
    return str(np.min_scalar_type(value)) if isinstance(value, int) else "float64"


def union(one: str, other: str) -> str:
    """Return the dtype that holds what two dtypes do."""
    return str(np.result_type(one, other))


def constant(value: float | Sequence[float]) -> Image:
    """Return an image of one value a band everywhere."""
    values = list(value) if isinstance(value, list | tuple) else [value]

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return [
            (np.full(grid.shape, values[position], kinds[position]), np.ones(grid.shape, bool))
            for position in wanted
        ]

    names = ["constant"] if len(values) == 1 else [f"constant_{n}" for n in range(len(values))]
    kinds = [dtype_of(value) for value in values]
    return Image(tuple(Band(n, k) for n, k in zip(names, kinds, strict=True)), pull)


@dataclass(frozen=True)
class ImageCollection:
    """Images in order."""

    images: tuple[Image, ...]


@dataclass(frozen=True)
class Feature:
    """A geometry, in longitude and latitude, with properties."""

    geometry: BaseGeometry | None
    properties: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Features in order."""

    features: tuple[Feature, ...]


@dataclass(frozen=True)
class Geometry:
    """A shape in a CRS; its edges are straight there, unless it is geodesic."""

    shape: BaseGeometry
    crs: str = "EPSG:4326"


@dataclass(frozen=True)
class Reducer:
    """Makes one value of many: gets values (n, y, x) and masks (n, y, x)."""

    name: str


@dataclass(frozen=True)
class Date:
    """A time; milliseconds since 1970, UTC."""

    milliseconds: float


@dataclass(frozen=True)
class DateRange:
    """From a time to another, which does not belong to it; milliseconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Filter:
    """Whether an element is kept."""

    keeps: Callable[[Any], bool]
