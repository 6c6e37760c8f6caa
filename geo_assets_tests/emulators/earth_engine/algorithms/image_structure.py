"""Bands and grids: what an image is made of and where it lies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from pyproj import CRS
from rasterio.features import geometry_mask

from geo_assets_tests.emulators.earth_engine.algorithms.geometries import in_crs
from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.sampling import sampled
from geo_assets_tests.emulators.earth_engine.values import (
    Band,
    Feature,
    Geometry,
    Image,
    ImageCollection,
    Pixels,
    Projection,
    Table,
    bad_request,
    constant,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

_DEGREE = 6_378_137 * np.pi / 180
"""Metres, on the equator of WGS 84."""

algorithm("Image.constant")(constant)


@algorithm("Image.load", assets=True)
def _load(assets: Any, id: str, version: int | None = None) -> Image:
    return assets.image(id)


@algorithm("Image.select")
def select(
    input: Image,
    bandSelectors: Sequence[Any] = (".*",),
    newNames: Sequence[str] | None = None,
) -> Image:
    """Return some bands of an image, by name or number, maybe with new names."""
    positions = [p for selector in bandSelectors for p in input.matching(selector)]
    bands = _apart([input.bands[position] for position in positions], [])
    if newNames is not None:
        if len(newNames) != len(bands):
            raise bad_request(f"Image.select: {len(bands)} bands want as many names.")
        bands = [replace(band, name=name) for band, name in zip(bands, newNames, strict=True)]

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return input.pull(grid, [positions[position] for position in wanted])

    return replace(input, bands=tuple(bands), pull=pull)


def _apart(bands: Sequence[Band], taken: Sequence[str]) -> list[Band]:
    """Bands with numbers behind names that are taken or come twice."""
    names, apart = set(taken), []
    for band in bands:
        name, number = band.name, 1
        while name in names:
            name, number = f"{band.name}_{number}", number + 1
        names.add(name)
        apart.append(replace(band, name=name))
    return apart


@algorithm("Image.rename")
def _rename(input: Image, names: Sequence[str]) -> Image:
    return select(input, [".*"], list(names))


@algorithm("Image.addBands")
def _add_bands(
    dstImg: Image,
    srcImg: Image,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Image:
    if overwrite:
        raise bad_request("Image.addBands(overwrite) is unknown to this loopback service.")
    added = srcImg if names is None else select(srcImg, names)
    own = len(dstImg.bands)
    new = _apart(added.bands, dstImg.named())

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        mine = [position for position in wanted if position < own]
        others = [position - own for position in wanted if position >= own]
        got = dict(zip(mine, dstImg.pull(grid, mine), strict=True)) if mine else {}
        if others:
            more = added.pull(grid, others)
            got |= {p + own: part for p, part in zip(others, more, strict=True)}
        return [got[position] for position in wanted]

    return replace(dstImg, bands=(*dstImg.bands, *new), pull=pull, id=None)


@algorithm("Image.bandNames")
def _band_names(image: Image) -> list[str]:
    return image.named()


@algorithm("Image.projection")
def _projection(image: Image) -> Projection:
    found = {band.projection for band in image.bands}
    if len(found) != 1:
        raise bad_request(
            "Image.projection: The bands of the specified image contains different projections."
        )
    return found.pop()


@algorithm("Projection")
def _make_projection(
    crs: Any,
    transform: Sequence[float] | None = None,
    transformWkt: str | None = None,
) -> Projection:
    if transformWkt is not None:
        raise bad_request("Projection(transformWkt) is unknown to this loopback service.")
    return as_projection(crs, transform)


def as_projection(
    crs: Any, transform: Sequence[float] | None = None, scale: float | None = None
) -> Projection:
    """Return a projection of a code, with its pixels of one unit unless they are stated.

    A scale is in metres, which are brought into degrees along the equator.
    """
    if scale is not None:
        found = as_projection(crs)
        size = scale / _DEGREE if CRS(found.crs).is_geographic else scale
        return replace(found, transform=Affine(size, 0, 0, 0, -size, 0))
    if isinstance(crs, Projection):
        return crs if transform is None else replace(crs, transform=Affine(*transform))
    try:
        known = CRS.from_user_input(crs)
    except Exception as error:
        raise bad_request(f"The CRS of a map projection could not be parsed: {crs}") from error
    code = ":".join(known.to_authority() or ("", str(crs)))
    return Projection(code, Affine(1, 0, 0, 0, 1, 0) if transform is None else Affine(*transform))


def on(image: Image, projection: Projection) -> Image:
    """Return an image that says it lies on a projection, without edges."""
    bands = tuple(replace(band, projection=projection, shape=None) for band in image.bands)
    return replace(image, bands=bands, id=None)


@algorithm("Image.reproject")
def _reproject(
    image: Image,
    crs: Any,
    crsTransform: Sequence[float] | None = None,
    scale: float | None = None,
) -> Image:
    projection = as_projection(crs, crsTransform, scale)

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return sampled(image.pull, grid, projection, wanted)

    inner = image.reach

    def edges(window: GeoBox, _: Sequence[int]) -> list[Pixels]:
        inside = np.ones(window.shape, bool) if inner is None else inner(window)
        return [(inside, inside)]

    def reach(grid: GeoBox) -> NDArray[np.bool_]:
        return sampled(edges, grid, projection, [0])[0][1]

    return on(replace(image, pull=pull, reach=None if inner is None else reach), projection)


@algorithm("Image.setDefaultProjection")
def _set_default_projection(
    image: Image,
    crs: Any,
    crsTransform: Sequence[float] | None = None,
    scale: float | None = None,
) -> Image:
    projection = as_projection(crs, crsTransform, scale)
    return on(image, projection)


@algorithm("Image.resample")
def _resample(image: Image, mode: str = "bilinear") -> Image:
    if mode != "bilinear":
        raise bad_request(f"Image.resample: {mode} is unknown to this loopback service.")

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return [
            sampled(image.pull, grid, image.bands[position].projection, [position], mode)[0]
            for position in wanted
        ]

    return replace(image, pull=pull, id=None)


@algorithm("Image.clip")
def clip(input: Image, geometry: Any) -> Image:
    """Return an image masked outside a geometry: pixels count by their centres."""
    shape = as_geometry(geometry)

    def within(grid: GeoBox) -> NDArray[np.bool_]:
        there = in_crs(shape, str(grid.crs))
        if there.is_empty:
            return np.zeros(grid.shape, bool)
        return geometry_mask([there], grid.shape, grid.affine, invert=True)

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        inside = within(grid)
        return [(data, mask & inside) for data, mask in input.pull(grid, wanted)]

    def reach(grid: GeoBox) -> NDArray[np.bool_]:
        return within(grid) if input.reach is None else within(grid) & input.reach(grid)

    return replace(input, pull=pull, id=None, reach=reach)


def as_geometry(value: Any) -> Geometry:
    """Return the geometry of a geometry, a feature or a table."""
    if isinstance(value, Geometry):
        return value
    if isinstance(value, Feature) and value.geometry is not None:
        return Geometry(value.geometry)
    if isinstance(value, Table):
        from shapely import union_all

        return Geometry(union_all([feature.geometry for feature in value.features]))
    raise bad_request("Image.clip: The geometry for image clipping must not be unbounded.")


@algorithm("Image.linkCollection")
def _link_collection(
    input: Image,
    imageCollection: ImageCollection,
    linkedBands: Any = None,
    linkedProperties: Any = None,
    matchPropertyName: str = "system:index",
) -> Image:
    """Bands of the image of the same index; masked where there is none."""
    names = [linkedBands] if isinstance(linkedBands, str) else list(linkedBands or [])
    wanted = input.properties.get(matchPropertyName)
    for image in imageCollection.images:
        if image.properties.get(matchPropertyName) == wanted:
            return _add_bands(input, select(image, names))

    def nothing(grid: GeoBox, positions: Sequence[int]) -> list[Pixels]:
        return [(np.zeros(grid.shape), np.zeros(grid.shape, bool)) for _ in positions]

    return _add_bands(input, Image(tuple(Band(name) for name in names), nothing))
