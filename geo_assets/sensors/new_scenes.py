"""``new_scenes_sensor``: requests the partitions for which the source has new scenes.

The job ``look_for_scenes`` asks the source, once a day by its schedule, and notes what it saw; here
the notes are compared with those of ``ndvi_cube``, which scenes the cubes were made of. The
decision is ``core/new_scenes.py``. A run writes the table of scenes anew; a composite of other
scenes cannot heal its chips, so that it makes these anew too, where there are any. Where others
borrow a partition's model, all are made in one run, which begins with it.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.assets.label_models import lending_keys
from geo_assets.core.new_scenes import (
    SceneCursor,
    SceneState,
    partitions_with_new_scenes,
)
from geo_assets.core.run_requests import RequestPolicy
from geo_assets.errors import StorageError
from geo_assets.jobs import CUBES_AND_LABELS
from geo_assets.partitions import fold_and_split, partition_keys, tags_of_everything

# Dagster reads the annotations of a function when it is defined.
from geo_assets.resources import Results  # noqa: TC001
from geo_assets.sensors.runs import partitions_in_flight

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from collections.abc import Set as AbstractSet

    from geo_assets.campaign import Campaign
    from geo_assets.core.new_scenes import Ended, SceneKey
    from geo_assets.core.run_requests import PartitionRequest
    from geo_assets.jobs import Job
    from geo_assets.storage.layout import Layout
    from geo_assets.storage.seen_scenes import SeenScenes

NEW_SCENES_TAG = "geo_assets/new_scenes"
"""Tag of a run that the sensor requested: its run key."""

MOST_ATTEMPTS = 8
"""Four days from the first to the last: services of imagery are away for longer than a chip is."""

ENDED: dict[dg.DagsterRunStatus, Ended] = {
    dg.DagsterRunStatus.SUCCESS: "well",
    dg.DagsterRunStatus.FAILURE: "badly",
    dg.DagsterRunStatus.CANCELED: "badly",
}


def new_scenes(campaign: Campaign, job: Job, names: AbstractSet[str]) -> dg.SensorDefinition:
    """Return the sensor that has new scenes taken up by a job.

    Args:
        campaign: The campaign.
        job: The job of all its assets.
        names: Their names.
    """
    policy = RequestPolicy(max_attempts=MOST_ATTEMPTS)
    lenders = lending_keys(campaign)

    @dg.sensor(
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Requests just the partitions with scenes that look_for_scenes saw and that are not "
            "used yet: cubes and labels, and composites and chips where there are any; each set of "
            "new scenes once, and again if its run failed or could not read all their pixels, "
            f"{policy.max_attempts} times at most."
        ),
    )
    def new_scenes_sensor(context: dg.SensorEvaluationContext, results: Results) -> dg.SensorResult:
        from geo_assets.storage.seen_scenes import read_seen_scenes, used_scenes

        layout = results.layout(campaign.name)
        cursor: dict[str, SceneCursor] = json.loads(context.cursor) if context.cursor else {}
        busy = partitions_in_flight(context.instance, campaign)
        states: dict[str, SceneState] = {}
        seen: dict[str, SeenScenes] = {}
        for key in partition_keys(campaign):
            place = fold_and_split(key)
            try:
                seen[key] = read_seen_scenes(layout.seen_scenes(*place))
                used = used_scenes(layout, *place) if seen[key].scenes else None
            except StorageError as error:
                # One damaged file must not keep the other partitions waiting.
                context.log.warning(f"{key} is left out: {error}")
                if key in cursor:
                    states[key] = SceneState(frozenset(), in_flight=True)
                continue
            entry = cursor.get(key)
            wanted = _of_clusters(seen[key].scenes, campaign.clusters.only)
            states[key] = SceneState(
                frozenset() if used is None else wanted - used.scenes,
                bool(busy) if key in lenders else key in busy,
                "unknown" if entry is None else _end_of_run(context.instance, entry),
                frozenset() if used is None else wanted & used.unread,
            )
        now = dt.datetime.now(dt.UTC)
        requests, cursor = partitions_with_new_scenes(states, cursor, now, policy)
        return dg.SensorResult(
            run_requests=_run_requests(campaign, layout, requests, names),
            skip_reason=None if requests else _reason(states, seen),
            cursor=json.dumps(cursor, sort_keys=True),
        )

    return new_scenes_sensor


def _run_requests(
    campaign: Campaign, layout: Layout, requests: list[PartitionRequest], names: AbstractSet[str]
) -> list[dg.RunRequest]:
    """Return a run for each request, or one of all partitions, which borrow the model of one."""
    lenders = lending_keys(campaign)
    of_all = [request for request in requests if request.key in lenders][:1]
    cubes = [dg.AssetKey([campaign.name, name]) for name in CUBES_AND_LABELS if name in names]
    runs = []
    for request in of_all or requests:
        keys = partition_keys(campaign) if of_all else [request.key]
        tags = {NEW_SCENES_TAG: request.run_key, "geo_assets/attempt": str(request.attempt)}
        runs.append(
            dg.RunRequest(
                run_key=request.run_key,
                partition_key=None if of_all else request.key,
                asset_selection=None
                if any(_has_composites(layout, key) for key in keys)
                else cubes,
                tags=tags | tags_of_everything(campaign) if of_all else tags,
            )
        )
    return runs


def _of_clusters(
    scenes: frozenset[SceneKey], chosen: Collection[int] | None
) -> frozenset[SceneKey]:
    """Return the scenes of the clusters that runs work on; a look of before may have seen more."""
    return frozenset(scene for scene in scenes if chosen is None or scene[0] in chosen)


def _has_composites(layout: Layout, key: str) -> bool:
    """Whether composites or chips were made of a partition's scenes; a grid may be empty."""
    place = fold_and_split(key)
    return layout.composite_images(*place).is_dir() or layout.chip_grid(*place).is_file()


def _end_of_run(instance: dg.DagsterInstance, entry: SceneCursor) -> Ended:
    """How the run of the latest request ended, as far as Dagster knows."""
    # A cursor of an earlier version holds no run key, and no run has an empty one.
    tags = {NEW_SCENES_TAG: entry.get("run_key", "")}
    runs = instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
    return ENDED.get(runs[0].status, "unknown") if runs else "unknown"


def _reason(states: Mapping[str, SceneState], seen: Mapping[str, SeenScenes]) -> str:
    """Why nothing is requested: sources that were away by name, else in numbers."""
    waiting = sum(bool(state.wanting) for state in states.values())
    running = sum(state.in_flight for state in states.values())
    words = (
        f"nothing to request now: {waiting} partitions with new scenes had their runs or wait for "
        f"another attempt; {running} are being worked on"
    )
    away = dict.fromkeys(note.problem for note in seen.values() if note.problem)
    return "; ".join([words, *(f"the latest look failed: {problem}" for problem in away)])
