"""How the chips of one partition stand, read from its catalog, journal and lock."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from geo_assets.core.redownload import PartitionState
from geo_assets.errors import RETRYABLE
from geo_assets.storage.catalog import read_rows
from geo_assets.storage.chip_paths import ChipPaths
from geo_assets.storage.journal import pending_journals
from geo_assets.storage.partition_lock import is_locked

if TYPE_CHECKING:
    from geo_assets.storage.layout import Layout


def partition_state(
    layout: Layout, fold: str, split: str, *, in_flight: bool = False
) -> PartitionState:
    """Return what the failed-chips sensor needs to know of a partition.

    Args:
        layout: Where the campaign's results lie.
        fold: The fold.
        split: The split.
        in_flight: Whether a run of it is known to be queued or under way.
    """
    paths = ChipPaths.of(layout.folder, fold, split)
    rows = read_rows(paths.catalog) if paths.catalog.is_file() else []
    failed = Counter(
        row.outcome.error_kind in RETRYABLE for row in rows if row.outcome.status == "failed"
    )
    busy = in_flight or is_locked(paths.lock)
    return PartitionState(
        retryable_failed=failed[True],
        permanent_failed=failed[False],
        content=max((row.outcome.updated.isoformat() for row in rows), default=""),
        dead_run=bool(pending_journals(paths.journals)) and not busy,
        in_flight=busy,
    )
