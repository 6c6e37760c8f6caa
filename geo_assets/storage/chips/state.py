"""How the chips of a partition stand, told from its files alone: what the sensor and checks ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from geo_assets.core.redownload import PartitionState
from geo_assets.errors import RETRYABLE, StorageError
from geo_assets.storage.journal import pending_journals
from geo_assets.storage.partition_lock import is_locked

if TYPE_CHECKING:
    from collections.abc import Collection

    from geo_assets.storage.chips.paths import ChipPaths


def partition_state(paths: ChipPaths, clusters: Collection[int] | None = None) -> PartitionState:
    """Return how one partition stands; a partition that never ran has nothing failed.

    Args:
        paths: Where the partition keeps its chips.
        clusters: The AOI clusters that runs work on; None: all. Chips of others stay as they are,
            failed ones too.

    Raises:
        StorageError: The catalog cannot be read.
    """
    # Looked at before and after the journals: a run that begins or ends meanwhile is not dead.
    locked = is_locked(paths.lock)
    pending = bool(pending_journals(paths.journals))
    locked = is_locked(paths.lock) or locked
    kinds, content = [], ""
    if paths.catalog.exists():
        try:
            rows = pq.read_table(
                paths.catalog,
                columns=["cluster", "status", "error_kind", "updated"],
                partitioning=None,
            ).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{paths.catalog}: no readable catalog: {error}") from error
        kinds = [
            row["error_kind"]
            for row in rows
            if row["status"] == "failed" and (clusters is None or row["cluster"] in clusters)
        ]
        content = max((row["updated"].isoformat() for row in rows), default="")
    retryable = sum(kind in RETRYABLE for kind in kinds)
    return PartitionState(
        retryable_failed=retryable,
        permanent_failed=len(kinds) - retryable,
        content=content,
        dead_run=pending and not locked,
        in_flight=locked,
    )
