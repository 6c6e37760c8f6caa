"""Images made for the eye: stretched to 8 bits, cut to the size of a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets_tests.emulators.earth_engine.algorithms.geometries import in_crs
from geo_assets_tests.emulators.earth_engine.algorithms.image_structure import (
    as_geometry,
    clip,
    on,
    select,
)
from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Geometry,
    Image,
    Pixels,
    Projection,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@algorithm("Image.visualize")
def _visualize(  # the service's arguments
    image: Image,
    bands: Any = None,
    gain: Any = None,
    bias: Any = None,
    min: Any = None,
    max: Any = None,
    gamma: Any = None,
    opacity: Any = None,
    palette: Any = None,
    forceRgbOutput: bool = False,
) -> Image:
    if any(option is not None for option in (gain, bias, gamma, opacity, palette)):
        raise bad_request("Image.visualize: this loopback service knows bands, min and max.")
    chosen = image if bands is None else select(image, _listed(bands))
    low, high = (
        _three(value, len(chosen.bands)) for value in (min or 0, 255 if max is None else max)
    )
    if len(chosen.bands) not in {1, 3} or any(a == b for a, b in zip(low, high, strict=True)):
        raise bad_request("Image.visualize: one or three bands are wanted, and min unlike max.")

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
    return replace(image, bands=drawn, pull=pull, id=None)


def _listed(value: Any) -> list[str]:
    return value.split(",") if isinstance(value, str) else list(value)


def _three(value: Any, count: int) -> list[float]:
    values = [float(v) for v in (value if isinstance(value, list) else [value])]
    return values * count if len(values) == 1 else values


@algorithm("Image.clipToBoundsAndScale")
def _clip_to_bounds_and_scale(  # the service's arguments
    input: Image,
    geometry: Any = None,
    width: int | None = None,
    height: int | None = None,
    maxDimension: int | None = None,
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
    place = projection.window(GeoBox((height, width), affine, crs))
    if place is not None:  # pixels of the image's own, to the last bit
        affine = projection.transform @ Affine.translation(place[1], place[0])
    made = on(input, Projection(crs, affine))
    clipped = clip(made, Geometry(shapely.box(west, south, east, north), crs))
    bands = tuple(replace(band, shape=(int(height), int(width))) for band in made.bands)
    return replace(clipped, bands=bands)
