"""Whether a published cube still holds what was written: looked at before it is copied.

A copy says of which state of a cube it is, so one of a damaged cube would pass for sound, even
after the cube has been made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.core.index_catalogue import SMOOTHED
from geo_assets.core.workers import Threads
from geo_assets.errors import StorageError
from geo_assets.storage.cubes.days import (
    CHECKSUM_ATTRIBUTE,
    RULES_ATTRIBUTE,
    array_of,
    checksum_of,
    days_of,
    kept_days,
    smoothed_in_order,
    sound_days,
    wrong_axes,
)
from geo_assets.storage.cubes.format import COORDINATES, GRID_MAPPING, variable_of
from geo_assets.storage.cubes.icechunk_cube import damage
from geo_assets.storage.cubes.publication import smoothed_digest

if TYPE_CHECKING:
    from pathlib import Path

    import zarr


def check_sound(cube: Path, group: zarr.Group) -> None:
    """Refuse a cube whose values are not those that were written, by the digests it holds.

    A store without a record of its days is taken as it is.

    Args:
        cube: Where the cube lies, for the message.
        group: The cube, opened.

    Raises:
        StorageError: If a day, an axis or the smoothed copies are damaged.
    """
    rules = group.attrs.get(RULES_ATTRIBUTE)
    if not isinstance(rules, str):
        return
    try:
        found = _damage_of(group, rules)
    except damage() as error:
        found = f"cannot be read as a cube: {error}"
    if found is not None:
        raise StorageError(f"{cube}: {found}; materialize ndvi_cube, which makes it again")


def _damage_of(group: zarr.Group, rules: str) -> str | None:
    if CHECKSUM_ATTRIBUTE not in group.attrs:
        return "says no checksum of its values, or one of an earlier version"
    days = days_of(group, rules) or {}
    wrong = wrong_axes(group, kept_days(days), _grid_of(group))
    if wrong:
        return f"{wrong[0]} is damaged"
    arrays = [array_of(group, name) for name in group.array_keys() if name not in COORDINATES]
    variables = [variable_of(array) for array in arrays if not array.basename.endswith(SMOOTHED)]
    sound = sound_days(group, days, variables, Threads())
    damaged = [day for day in kept_days(days) if day not in sound]
    if damaged:
        more = f", and {len(damaged) - 1} more" if damaged[1:] else ""
        return f"day {damaged[0]} is damaged{more}"
    smoothed = smoothed_in_order(array.basename for array in arrays)
    if checksum_of(days, smoothed_digest(group, smoothed)) != group.attrs[CHECKSUM_ATTRIBUTE]:
        return "smoothed copies are not those that were recorded"
    return None


def _grid_of(group: zarr.Group) -> GeoBox:
    """Return the grid that a cube's grid mapping states, in the size of its axes."""
    said = array_of(group, GRID_MAPPING).attrs
    numbers = [float(number) for number in str(said["GeoTransform"]).split()]
    rows, cols = (array_of(group, name).shape[0] for name in ("y", "x"))
    return GeoBox((rows, cols), Affine.from_gdal(*numbers), str(said["crs_wkt"]))
