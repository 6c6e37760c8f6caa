"""What a cube holds, told from the records of its days."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.products.cubes.rules import NDVI
from geo_assets.products.windows import FailedWindow, merge_windows
from geo_assets.storage.cubes.days import kept_days

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xarray import Dataset

    from geo_assets.storage.cubes.days import StoredDay

FAILED_ATTRIBUTE = "failed_windows"


@dataclass(frozen=True)
class CubeFacts:
    """What a published cube holds.

    Attributes:
        days: Its days.
        valid_share: For each day, the share of the area with an NDVI.
        outliers: For each day, the values of NDVI that were treated as outliers.
        failed: Windows that could not be read; their pixels are missing on that day.
        left_out: Days that were looked at and are not clear enough.
        put_off: Days that stay as they were, because they could not be read as well as then, with
            the reason; they are due again.
        unread: Scenes of which a window could not be read, of days that were put off too.
        outside: For each index, values beyond -3.2767 to 3.2767, which are missing.
        snapshot: Id of the snapshot in an Icechunk repository.
    """

    days: tuple[str, ...]
    valid_share: tuple[float, ...]
    outliers: tuple[int, ...]
    failed: tuple[FailedWindow, ...]
    left_out: tuple[str, ...] = ()
    put_off: tuple[tuple[str, str], ...] = ()
    unread: tuple[str, ...] = ()
    outside: tuple[tuple[str, int], ...] = ()
    snapshot: str | None = None


def facts_of(days: Mapping[str, StoredDay], inside: int) -> CubeFacts:
    """Return what a cube of some days holds.

    Args:
        days: All days that were looked at, in order.
        inside: Pixels of the area.
    """
    names = kept_days(days)
    outside: Counter[str] = Counter()
    for day in names:
        outside.update(days[day].facts["outside"])
    return CubeFacts(
        tuple(names),
        tuple(days[day].facts["valid"][NDVI] / max(inside, 1) for day in names),
        tuple(outliers_of(days)),
        tuple(failed_of(days.values())),
        tuple(day for day, said in days.items() if not said.kept),
        outside=tuple(sorted((name, count) for name, count in outside.items() if count)),
    )


def outliers_of(days: Mapping[str, StoredDay]) -> list[int]:
    """Return the outliers of NDVI of each day in the cube."""
    return [days[day].facts["outliers"].get(NDVI, 0) for day in kept_days(days)]


def failed_of(days: Iterable[StoredDay]) -> list[FailedWindow]:
    """Return the windows of days that could not be read, joined where they touch."""
    return merge_windows(FailedWindow(**said) for day in days for said in day.facts["failed"])


def failed_windows_of(cube: Dataset) -> tuple[FailedWindow, ...]:
    """Return the windows that could not be read when a cube was made."""
    return tuple(FailedWindow(**w) for w in json.loads(cube.attrs.get(FAILED_ATTRIBUTE, "[]")))
