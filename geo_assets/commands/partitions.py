"""What commands on chosen folds and splits share: which they are, and their locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.errors import CampaignError, LockedError
from geo_assets.partitions import fold_and_split

if TYPE_CHECKING:
    from contextlib import ExitStack

    from geo_assets.storage.layout import Layout


def chosen(what: str, name: str | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folds or splits that an option names: all, or the one.

    Raises:
        CampaignError: If the campaign does not have it.
    """
    if name is None:
        return names
    if name not in names:
        raise CampaignError(f"--{what} {name!r}: allowed are {', '.join(names)}")
    return (name,)


def locked(locks: ExitStack, layout: Layout, asset: str, key: str, run_id: str) -> None:
    """Hold the lock of an asset's partition: a run would replace what is being copied.

    Raises:
        LockedError: If a run works on it.
    """
    from geo_assets.storage.partition_lock import partition_lock

    try:
        locks.enter_context(partition_lock(layout.lock(asset, *fold_and_split(key)), run_id=run_id))
    except LockedError as error:
        raise LockedError(f"{key}: {error}") from None
