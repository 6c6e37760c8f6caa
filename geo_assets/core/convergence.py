"""The decision at the heart of the chip catalog: what to ask, what to keep, what to remove.

Pure: it sees the wanted chips, the rows that are known and the files that lie on the disk, and
returns a plan. Asking, writing and publishing is the work of ``storage/chips/store.py``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geo_assets.core.chips import ChipSpec, ChipStatus


class FileStamp(NamedTuple):
    """What tells without reading it that a file is still the one that was published."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last modification, nanoseconds since 1970."""


@dataclass(frozen=True)
class KnownChip:
    """What is known of a chip from earlier runs."""

    chip_id: str
    status: ChipStatus
    recipe: str
    href: str | None
    """The chip's file, None unless ``ok``."""
    stamp: FileStamp | None
    """Size and time of that file when it was published; None where they were not recorded."""


@dataclass(frozen=True)
class ChipPlan:
    """What a run has to do; ``ask`` and ``keep`` together are the wanted chips."""

    ask: tuple[ChipSpec, ...]
    """Not ``ok`` under the current recipe, or the file is gone or another; in the order wanted."""
    keep: tuple[ChipSpec, ...]
    """Answered under the current recipe; not touched."""
    remove: tuple[str, ...]
    """Ids of known chips that left the grid: rows and files go with the publication."""


def plan_chips(
    wanted: Sequence[ChipSpec],
    known: Mapping[str, KnownChip],
    on_disk: Mapping[str, FileStamp],
) -> ChipPlan:
    """Decide which chips to ask, which to keep and which to remove.

    Args:
        wanted: The chips of the current grid under the current recipe.
        known: What earlier runs found out, by chip id.
        on_disk: The files that exist now, by href.

    Raises:
        StorageError: Two wanted chips have the same id.
    """
    times_wanted = Counter(spec.chip_id for spec in wanted)
    if twins := sorted(chip_id for chip_id, times in times_wanted.items() if times > 1):
        raise StorageError(f"chips {twins[:5]} are wanted more than once")
    ask = tuple(spec for spec in wanted if not _is_answered(spec, known, on_disk))
    asked = {spec.chip_id for spec in ask}
    return ChipPlan(
        ask=ask,
        keep=tuple(spec for spec in wanted if spec.chip_id not in asked),
        remove=tuple(sorted(known.keys() - times_wanted.keys())),
    )


def _is_answered(
    spec: ChipSpec, known: Mapping[str, KnownChip], on_disk: Mapping[str, FileStamp]
) -> bool:
    chip = known.get(spec.chip_id)
    if chip is None or chip.recipe != spec.recipe:
        return False
    if chip.status == "no_imagery":
        return True
    return (
        chip.status == "ok"
        and chip.href is not None
        and chip.stamp is not None
        and on_disk.get(chip.href) == chip.stamp
    )
