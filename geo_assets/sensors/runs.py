"""What Dagster knows of the runs of a campaign: which partitions are being worked on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.jobs import CAMPAIGN_TAG
from geo_assets.partitions import PARTITION_TAG, RANGE_TAGS, fold_split_partitions

if TYPE_CHECKING:
    from geo_assets.campaign import Campaign

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def partitions_in_flight(instance: dg.DagsterInstance, campaign: Campaign) -> set[str]:
    """Partitions that an unfinished run of the campaign works on or will."""
    partitions = fold_split_partitions(campaign)
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
        selected = run.asset_selection or set()
        ours = run.tags.get(CAMPAIGN_TAG) == campaign.name or any(
            key.path[0] == campaign.name for key in selected
        )
        if not ours:
            continue
        if PARTITION_TAG in run.tags:
            busy.add(run.tags[PARTITION_TAG])
        elif all(tag in run.tags for tag in RANGE_TAGS):
            ends = [run.tags[tag] for tag in RANGE_TAGS]
            # A range of another time may name folds that the campaign no longer has.
            if all(partitions.has_partition_key(end) for end in ends):
                keys = dg.PartitionKeyRange(*ends)
                busy.update(partitions.get_partition_keys_in_range(keys))
    return busy
