"""Where pixels have a datum, and pixels replaced or spread by their value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets_tests.emulators.earth_engine.algorithms.image_math import as_image
from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm
from geo_assets_tests.emulators.earth_engine.values import (
    Image,
    Pixels,
    bad_request,
    dtype_of,
    union,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox


@algorithm("Image.where")
def _where(input: Image, test: Any, value: Any) -> Image:
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

    return replace(_widened(input, value), pull=pull, id=None)


def _widened(image: Image, other: Image) -> Image:
    """An image whose bands hold the other's values too."""
    dtypes = [band.dtype for band in other.bands]
    bands = tuple(
        replace(band, dtype=union(band.dtype, dtypes[min(n, len(dtypes) - 1)]))
        for n, band in enumerate(image.bands)
    )
    return replace(image, bands=bands)


@algorithm("Image.remap")
def _remap(
    image: Image,
    to: Sequence[float],
    defaultValue: float | None = None,
    bandName: str | None = None,
    **more: Sequence[float],
) -> Image:
    """``from`` is a word of Python: it comes among ``more``."""
    position = image.index(bandName) if bandName else 0
    origins = more["from"]
    if len(origins) != len(to):
        raise bad_request("Image.remap: Parameters 'from' and 'to' must have the same length.")
    targets = [*to, *([] if defaultValue is None else [defaultValue])]
    dtype = str(np.result_type(*(dtype_of(target) for target in targets or [0])))

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        [(data, mask)] = image.pull(grid, [position])
        out = np.full(data.shape, 0 if defaultValue is None else defaultValue, np.float64)
        known = np.zeros(data.shape, bool)
        for origin, target in zip(origins, to, strict=True):
            hit = data == origin
            out[hit] = target
            known |= hit
        return [(out, mask if defaultValue is not None else mask & known) for _ in wanted]

    band = replace(image.bands[position], name="remapped", dtype=dtype)
    return replace(image, bands=(band,), pull=pull, id=None)


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
    return replace(image, bands=bands, pull=pull, id=None)


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
def _unmask(input: Image, value: Any = 0, sameFootprint: bool = True) -> Image:
    """Within the edges of the image only, unless its footprint may grow."""
    value = as_image(value)
    widened = _widened(input, value)
    reach = input.reach if sameFootprint else None

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        values = value.all(grid)
        within = np.ones(grid.shape, bool) if reach is None else reach(grid)
        answers = []
        for position, (data, known) in zip(wanted, input.pull(grid, wanted), strict=True):
            instead, there = values[min(position, len(values) - 1)]
            filled = np.where(known, data, instead).astype(widened.bands[position].dtype)
            answers.append((filled, known | (there & within)))
        return answers

    return replace(widened, pull=pull, id=None, reach=reach)


@algorithm("Image.focalMax", "Image.focal_max")
def _focal_max(  # the service's arguments
    image: Image,
    radius: float = 1.5,
    kernelType: str = "circle",
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
