"""Looking for new scenes: a job of its own, because a sensor must not wait for the network.

It asks the source what a run would use now and notes it for the sensor; tables and pixels are
left alone. Without ``from __future__ import annotations``: Dagster compares the annotation of
``context`` with the class itself. https://docs.dagster.io/guides/build/ops
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.assets.step import Partition, imagery_pool
from geo_assets.errors import GeoAssetsError, StorageError
from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets.resources import ImagerySource, Results

if TYPE_CHECKING:
    from geo_assets.campaign import Campaign
    from geo_assets.core.new_scenes import SceneKey

LOOK = "look_for_scenes"
LONGEST_LOOK_S = 3600


def look_for_scenes_job(campaign: "Campaign", tags: Mapping[str, str]) -> dg.JobDefinition:
    """Return the job that looks for new scenes of every partition that has been run before.

    Args:
        campaign: The campaign.
        tags: Of each of its runs.
    """

    @dg.op(
        name=f"{LOOK}_of_each_partition",
        pool=imagery_pool(campaign),
        description="Asks the source which scenes a run would use now, and notes them.",
    )
    def look(context: dg.OpExecutionContext, results: Results, imagery: ImagerySource) -> None:
        _look_at_each(context, campaign, results, imagery)

    @dg.job(
        name=LOOK,
        executor_def=dg.in_process_executor,
        description="Looks for scenes that are not used yet; new_scenes_sensor requests runs.",
        tags={**tags, "dagster/max_runtime": str(LONGEST_LOOK_S)},
    )
    def look_for_scenes() -> None:
        look()

    return look_for_scenes


def _look_at_each(
    context: dg.OpExecutionContext,
    campaign: "Campaign",
    results: Results,
    imagery: ImagerySource,
) -> None:
    """Note what is seen for each partition; a failed look leaves what was seen before."""
    from geo_assets.storage.seen_scenes import (
        SeenScenes,
        read_seen_scenes,
        used_scenes,
        write_seen_scenes,
    )

    layout = results.layout(campaign.name)
    problems: dict[str, str] = {}
    for key in partition_keys(campaign):
        fold, split = fold_and_split(key)
        partition = Partition(
            campaign, layout, fold, split, imagery, context.run.run_id, context.log
        )
        note = layout.seen_scenes(fold, split)
        try:
            used = used_scenes(layout, fold, split)
            if used is None:
                context.log.info(f"{key}: has no scenes; its first run is for a person to start")
                continue
            seen = _scenes_of(partition)
        except GeoAssetsError as error:
            problems[key] = str(error)
            try:
                before = read_seen_scenes(note).scenes
            except StorageError:
                before = frozenset()
            write_seen_scenes(note, SeenScenes(before, str(error)))
            context.log.warning(f"{key}: {error}")
            continue
        write_seen_scenes(note, SeenScenes(seen))
        new = sorted(name for _, name in seen - used.scenes)
        unread = len(seen & used.unread)
        context.log.info(
            f"{key}: {len(seen)} scenes, {len(new)} of them new, {unread} not read in full"
        )
        context.log_event(
            dg.AssetObservation(
                dg.AssetKey([campaign.name, "scenes"]),
                partition=key,
                metadata={
                    "seen": len(seen),
                    "new": len(new),
                    "new_scenes": ", ".join(new[:50]),
                    "unread": unread,
                },
            )
        )
    if problems:
        reasons = "; ".join(f"{key}: {problem}" for key, problem in problems.items())
        raise dg.Failure(f"could not look at {len(problems)} partitions: {reasons}")


def _scenes_of(partition: Partition) -> "frozenset[SceneKey]":
    """Return cluster and id of each scene that the step ``scenes`` would use now."""
    from geo_assets.assets.scenes import selections

    return frozenset(
        (box.cluster, str(item["id"]))
        for box, selection in selections(partition)
        for item in selection.items
    )
