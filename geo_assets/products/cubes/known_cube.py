"""A cube that lies on the disk, and whether what was read anew takes the place of its days."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.index_catalogue import SMOOTHED
from geo_assets.errors import ReadError
from geo_assets.products.cubes.facts import failed_of
from geo_assets.products.windows import say_the_same
from geo_assets.storage.cubes.days import array_of, days_recorded, kept_days
from geo_assets.storage.cubes.format import COORDINATES
from geo_assets.storage.cubes.icechunk_cube import can_open, damage, is_repository
from geo_assets.storage.cubes.opening import open_group

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import zarr

    from geo_assets.products.windows import FailedWindow, Window
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
        there = self.days.get(day)
        if there is None or day in self.damaged:
            return True
        # In what words a window could not be read changes from run to run, and no pixel with it.
        return _but_for_failures(said) != _but_for_failures(there) or not say_the_same(
            _wordless(said), _wordless(there)
        )

    @property
    def is_all_damaged(self) -> bool:
        """Whether there are days and none is as it was written."""
        return bool(self.damaged) and self.damaged == set(kept_days(self.days))

    def is_better(self, day: str, said: StoredDay) -> bool:
        """Whether a day as it lies there has pixels that could not be read now.

        What of a damaged one is sound is not known, so that it stays until what was read of it
        before can be read again.
        """
        there = self.days.get(day)
        if there is None or not there.kept:
            return False
        if day in self.damaged:
            before = {_place_of(window) for window in failed_of([there])}
            return any(_place_of(window) not in before for window in failed_of([said]))
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


def _but_for_failures(said: StoredDay) -> StoredDay:
    return replace(said, facts={**said.facts, "failed": []})


def _wordless(said: StoredDay) -> list[FailedWindow]:
    """Return the windows of a day that could not be read, without the words why."""
    return [replace(window, error="") for window in failed_of([said])]


def _place_of(window: Window) -> tuple[int, int, int, int]:
    return (window.row, window.col, window.height, window.width)


def require_days_of_before(path: Path, days: Mapping[str, StoredDay]) -> None:
    """Refuse to replace a cube, of other rules or damaged, where that would lose one of its days.

    Args:
        path: Where it lies.
        days: What could be read now.

    Raises:
        ReadError: A day that the cube has whole could not be read as a whole; or, where it cannot
            say what it has, no day could be read at all. Where but Icechunk is missing, which could
            read it, every day has to be read as a whole.
    """
    is_closed = is_repository(path) and not can_open()
    try:
        before = days_recorded(open_group(path))
    except damage():
        before = {}
    lost = {
        name: failed_of([days[name]])
        for name, facts in before.items()
        if name in days and not facts.get("failed")
    }
    lost = {name: failed for name, failed in lost.items() if failed}
    failed = failed_of(days.values())
    some_read = any(day.kept for day in days.values()) and not is_closed
    if not lost and (before or not failed or some_read):
        return
    first = next(iter(lost.values()), failed)[0]
    told = f"{len(lost)} of its {len(before)} days" if lost else f"any day of {len(days)}"
    if is_closed:
        told = f"a day of {len(days)}, which it may have (icechunk cannot be imported),"
    raise ReadError(
        f"{path}: is left as it is, for it is to be made again and {told} could not be read: "
        f"{first.error}; materialize ndvi_cube when that can be read, or remove the cube if it "
        "never will",
        kind=first.kind,
        scene_id=first.scene_id,
    )
