"""A cube that lies on the disk, and whether what was read anew takes the place of its days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.errors import ReadError
from geo_assets.products.cubes.facts import failed_of
from geo_assets.storage.cubes.days import SMOOTHED, array_of, kept_days
from geo_assets.storage.cubes.format import COORDINATES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import zarr

    from geo_assets.products.windows import Window
    from geo_assets.storage.cubes.days import StoredDay


@dataclass(frozen=True)
class KnownCube:
    """What a published cube of the same rules holds.

    Attributes:
        days: All days that were looked at.
        damaged: Days whose values are not those that were written.
        whole: Whether attributes and smoothed copies are what they should be.
        group: The cube, opened.
    """

    days: dict[str, StoredDay]
    damaged: frozenset[str]
    whole: bool
    group: zarr.Group

    def is_news(self, day: str, said: StoredDay) -> bool:
        """Whether what was made of a day is other than what lies there."""
        return day in self.damaged or said != self.days.get(day)

    def is_better(self, day: str, said: StoredDay) -> bool:
        """Whether a day as it lies there has pixels that could not be read now."""
        there = self.days.get(day)
        if there is None or not there.kept or day in self.damaged:
            return False
        position = kept_days(self.days).index(day)
        return any(self._has_datum(position, window) for window in failed_of([said]))

    def _has_datum(self, position: int, window: Window) -> bool:
        """Whether any variable has a value in a window of a day."""
        for name in self.group.array_keys():
            if name in COORDINATES or name.endswith(SMOOTHED):
                continue
            array = array_of(self.group, name)
            values = np.asarray(array[position, *window.slices])
            missing = np.isnan(values) if values.dtype.kind == "f" else values == array.fill_value
            if not missing.all():
                return True
        return False


def require_a_day(path: Path, days: Mapping[str, StoredDay]) -> None:
    """Refuse to replace a cube by one of which nothing could be read.

    Raises:
        ReadError: It names the first window that could not be read.
    """
    failed = failed_of(days.values())
    if failed and not any(day.kept for day in days.values()):
        first = failed[0]
        raise ReadError(
            f"{path}: is left as it is, for no day of {len(days)} could be read: {first.error}",
            kind=first.kind,
            scene_id=first.scene_id,
        )
