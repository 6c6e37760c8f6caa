"""Partitions: fold × split, and nothing finer.

Chips are rows of a catalog, never partitions; AOI clusters are files of a partition.
https://docs.dagster.io/guides/build/partitions-and-backfills
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from geo_assets.campaign import Campaign

PARTITION_TAG = "dagster/partition"
"""Dagster's tag of a run of one partition."""
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""Dagster's tags of a run of a range of partitions: its first and its last key."""


def fold_split_partitions(campaign: Campaign) -> dg.MultiPartitionsDefinition:
    """Every fold with every split; keys read ``north|train``, dimensions in alphabetical order."""
    return dg.MultiPartitionsDefinition(
        {
            "fold": dg.StaticPartitionsDefinition(list(campaign.folds)),
            "split": dg.StaticPartitionsDefinition(list(campaign.splits)),
        }
    )


def partition_key(fold: str, split: str) -> str:
    """Return the key of one partition, as Dagster writes it."""
    return f"{fold}|{split}"


def fold_and_split(key: str) -> tuple[str, str]:
    """Return the fold and the split that a partition key names."""
    fold, split = key.split("|")
    return fold, split


def partition_keys(campaign: Campaign) -> list[str]:
    """Every key, in the order of the campaign: the order in which a range runs."""
    return [partition_key(fold, split) for fold in campaign.folds for split in campaign.splits]


def tags_of_everything(campaign: Campaign) -> dict[str, str]:
    """Return the tags that make a run one range run over every partition."""
    keys = partition_keys(campaign)
    return dict(zip(RANGE_TAGS, (keys[0], keys[-1]), strict=True))
