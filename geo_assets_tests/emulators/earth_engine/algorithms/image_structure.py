"""Bands, grids and pictures: what an image is made of and where it lies."""

# Argument names are the service's.

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

    from odc.geo.geobox import GeoBox

algorithm("Image.constant")(constant)


@algorithm("Image.load", assets=True)
def _load(assets: Any, id: str, version: int | None = None) -> Image:  # noqa: A002, ARG001
    return assets.image(id)


@algorithm("Image.select")
def _select(
    input: Image,  # noqa: A002
    bandSelectors: Sequence[Any] = (".*",),  # noqa: N803
    newNames: Sequence[str] | None = None,  # noqa: N803
) -> Image:
    selectors = list(bandSelectors)
    positions = (
        list(range(len(input.bands)))
        if selectors == [".*"]
        else [input.index(selector) for selector in selectors]
    )
    bands = [input.bands[position] for position in positions]
    if newNames is not None:
        if len(newNames) != len(bands):
            raise bad_request(f"Image.select: {len(bands)} bands want as many names.")
        bands = [replace(band, name=name) for band, name in zip(bands, newNames, strict=True)]

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return input.pull(grid, [positions[position] for position in wanted])

    return replace(input, bands=tuple(bands), pull=pull)


@algorithm("Image.rename")
def _rename(input: Image, names: Sequence[str]) -> Image:  # noqa: A002
    return _select(input, [".*"], list(names))


@algorithm("Image.addBands")
def _add_bands(
    dstImg: Image,  # noqa: N803
    srcImg: Image,  # noqa: N803
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Image:
    if overwrite:
        raise bad_request("Image.addBands(overwrite) is unknown to this loopback service.")
    added = srcImg if names is None else _select(srcImg, names)
    own = len(dstImg.bands)
    taken = set(dstImg.named())
    new = []
    for band in added.bands:
        name, number = band.name, 1
        while name in taken:
            name, number = f"{band.name}_{number}", number + 1
        taken.add(name)
        new.append(replace(band, name=name))

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
    transformWkt: str | None = None,  # noqa: N803
) -> Projection:
    if transformWkt is not None:
        raise bad_request("Projection(transformWkt) is unknown to this loopback service.")
    return as_projection(crs, transform)


def as_projection(crs: Any, transform: Sequence[float] | None = None) -> Projection:
    """Return a projection of a code, with its pixels of one unit unless they are stated."""
    if isinstance(crs, Projection):
        return crs if transform is None else replace(crs, transform=Affine(*transform))
    try:
        known = CRS.from_user_input(crs)
    except Exception as error:
        raise bad_request(f"The CRS of a map projection could not be parsed: {crs}") from error
    code = ":".join(known.to_authority() or ("", str(crs)))
    return Projection(code, Affine(1, 0, 0, 0, 1, 0) if transform is None else Affine(*transform))


def _on(image: Image, projection: Projection) -> Image:
    bands = tuple(replace(band, projection=projection, shape=None) for band in image.bands)
    return replace(image, bands=bands, id=None)


@algorithm("Image.reproject")
def _reproject(
    image: Image,
    crs: Any,
    crsTransform: Sequence[float] | None = None,  # noqa: N803
    scale: float | None = None,
) -> Image:
    projection = as_projection(crs, crsTransform)
    if scale is not None:
        projection = replace(projection, transform=Affine(scale, 0, 0, 0, -scale, 0))

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return sampled(image.pull, grid, projection, wanted)

    return _on(replace(image, pull=pull), projection)


@algorithm("Image.setDefaultProjection")
def _set_default_projection(
    image: Image,
    crs: Any,
    crsTransform: Sequence[float] | None = None,  # noqa: N803
    scale: float | None = None,
) -> Image:
    projection = as_projection(crs, crsTransform)
    if scale is not None:
        projection = replace(projection, transform=Affine(scale, 0, 0, 0, -scale, 0))
    return _on(image, projection)


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
def _clip(input: Image, geometry: Any) -> Image:  # noqa: A002
    shape = as_geometry(geometry)

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        there = in_crs(shape, str(grid.crs))
        if there.is_empty:
            inside = np.zeros(grid.shape, bool)
        else:
            inside = geometry_mask([there], grid.shape, grid.affine, invert=True)
        return [(data, mask & inside) for data, mask in input.pull(grid, wanted)]

    return replace(input, pull=pull, id=None)


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
    input: Image,  # noqa: A002
    imageCollection: ImageCollection,  # noqa: N803
    linkedBands: Any = None,  # noqa: N803
    linkedProperties: Any = None,  # noqa: N803, ARG001
    matchPropertyName: str = "system:index",  # noqa: N803
) -> Image:
    """Bands of the image of the same index; masked where there is none."""
    names = [linkedBands] if isinstance(linkedBands, str) else list(linkedBands or [])
    wanted = input.properties.get(matchPropertyName)
    for image in imageCollection.images:
        if image.properties.get(matchPropertyName) == wanted:
            return _add_bands(input, _select(image, names))

    def nothing(grid: GeoBox, positions: Sequence[int]) -> list[Pixels]:
        return [(np.zeros(grid.shape), np.zeros(grid.shape, bool)) for _ in positions]

    return _add_bands(input, Image(tuple(Band(name) for name in names), nothing))


@algorithm("Image.visualize")
def _visualize(  # noqa: PLR0917  # the service's arguments
    image: Image,
    bands: Any = None,
    gain: Any = None,
    bias: Any = None,
    min: Any = None,  # noqa: A002
    max: Any = None,  # noqa: A002
    gamma: Any = None,
    opacity: Any = None,
    palette: Any = None,
    forceRgbOutput: bool = False,  # noqa: N803, ARG001
) -> Image:
    if any(option is not None for option in (gain, bias, gamma, opacity, palette)):
        raise bad_request("Image.visualize: this loopback service knows bands, min and max.")
    chosen = image if bands is None else _select(image, _listed(bands))
    low, high = (
        _three(value, len(chosen.bands)) for value in (min or 0, 255 if max is None else max)
    )

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        parts = chosen.all(grid)
        known = np.logical_and.reduce([mask for _, mask in parts])
        answers = []
        for position in wanted:
            source = position if len(parts) == 3 else 0
            share = (parts[source][0].astype(float) - low[source]) / (high[source] - low[source])
            answers.append((np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8), known))
        return answers

    first = replace(chosen.bands[0], dtype="uint8")
    drawn = tuple(replace(first, name=f"vis-{name}") for name in ("red", "green", "blue"))
    return Image(drawn, pull, image.properties, image.footprint)


def _listed(value: Any) -> list[str]:
    return value.split(",") if isinstance(value, str) else list(value)


def _three(value: Any, count: int) -> list[float]:
    values = [float(v) for v in (value if isinstance(value, list) else [value])]
    return values * count if len(values) == 1 else values


@algorithm("Image.clipToBoundsAndScale")
def _clip_to_bounds_and_scale(  # noqa: PLR0917  # the service's arguments
    input: Image,  # noqa: A002
    geometry: Any = None,
    width: int | None = None,
    height: int | None = None,
    maxDimension: int | None = None,  # noqa: N803
    scale: float | None = None,
) -> Image:
    """Give an image edges: the bounds of a geometry in its CRS, cut into the pixels asked for.

    A geometry in another CRS is brought into the image's own.
    """
    projection = input.bands[0].projection
    crs = projection.crs
    west, south, east, north = in_crs(as_geometry(geometry), crs).bounds
    if scale is not None:
        width, height = round((east - west) / scale), round((north - south) / scale)
    elif maxDimension is not None:
        longest = np.maximum(east - west, north - south)
        width = int(np.maximum(1, round((east - west) / longest * maxDimension)))
        height = int(np.maximum(1, round((north - south) / longest * maxDimension)))
    elif width is None or height is None:
        size = abs(projection.transform.a), abs(projection.transform.e)
        width, height = round((east - west) / size[0]), round((north - south) / size[1])
    affine = Affine((east - west) / width, 0, west, 0, -(north - south) / height, north)
    made = _on(input, Projection(crs, affine))
    clipped = _clip(made, geometry)
    bands = tuple(replace(band, shape=(int(height), int(width))) for band in made.bands)
    return replace(clipped, bands=bands)


@algorithm("Element.set")
def _set(object: Any, key: str, value: Any) -> Any:  # noqa: A002
    return replace(object, properties={**object.properties, key: value})


@algorithm("Element.get")
def _get(object: Any, property: str) -> Any:  # noqa: A002
    return object.properties.get(property)


@algorithm("Element.setMulti")
def _set_multi(object: Any, properties: dict[str, Any]) -> Any:  # noqa: A002
    return replace(object, properties={**object.properties, **properties})


@algorithm("Element.copyProperties")
def _copy_properties(
    destination: Any, source: Any, properties: Any = None, exclude: Any = None
) -> Any:
    names = properties or [name for name in source.properties if not name.startswith("system:")]
    taken = {n: source.properties[n] for n in names if n not in (exclude or [])}
    return replace(destination, properties={**destination.properties, **taken})
