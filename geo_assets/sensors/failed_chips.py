"""``failed_chips_sensor``: requests the partitions whose chips failed for a passing reason.

The decision (which, when, how often) is ``core/redownload.py``.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.core.redownload import PartitionState, partitions_to_request
from geo_assets.core.run_requests import RequestPolicy
from geo_assets.errors import StorageError
from geo_assets.partitions import fold_and_split, partition_keys

# Dagster reads the annotations of a function when it is defined.
from geo_assets.resources import Results  # noqa: TC001
from geo_assets.sensors.runs import ACTIVE, partitions_in_flight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets.campaign import Campaign
    from geo_assets.core.run_requests import CursorEntry
    from geo_assets.jobs import Job
    from geo_assets.storage.layout import Layout


def failed_chips(campaign: Campaign, job: Job) -> dg.SensorDefinition:
    """Return the sensor that has failed chips asked again by a job."""
    policy = RequestPolicy()

    @dg.sensor(
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Requests just the partitions with failed chips that may succeed when asked again, "
            f"with growing delay, {policy.max_attempts} times at most."
        ),
    )
    def failed_chips_sensor(
        context: dg.SensorEvaluationContext, results: Results
    ) -> dg.SensorResult:
        layout = results.layout(campaign.name)
        # In this order: Dagster may start a killed run again by itself, which the next tick sees.
        busy = partitions_in_flight(context.instance, campaign)
        for run_id in _end_dead_runs(context.instance, layout):
            context.log.warning(f"run {run_id} was killed; it is marked as failed")
        before: dict[str, CursorEntry] = json.loads(context.cursor) if context.cursor else {}
        states: dict[str, PartitionState] = {}
        left_out: dict[str, CursorEntry] = {}
        for key in partition_keys(campaign):
            try:
                state = _state(campaign, layout, key)
            except StorageError as error:
                # One broken catalog must not keep the others from healing.
                context.log.warning(f"{key} is left out: {error}")
                if key in before:
                    left_out[key] = before[key]  # its attempts were had
            else:
                states[key] = replace(state, in_flight=state.in_flight or key in busy)
        requests, cursor = partitions_to_request(states, before, dt.datetime.now(dt.UTC), policy)
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=request.run_key,
                    partition_key=request.key,
                    tags={"geo_assets/attempt": str(request.attempt)},
                )
                for request in requests
            ],
            skip_reason=None if requests else _reason(states),
            cursor=json.dumps(cursor | left_out, sort_keys=True),
        )

    return failed_chips_sensor


def _state(campaign: Campaign, layout: Layout, key: str) -> PartitionState:
    from geo_assets.storage.chips.paths import ChipPaths
    from geo_assets.storage.chips.state import partition_state

    return partition_state(ChipPaths.of(layout, *fold_and_split(key)), campaign.clusters.only)


def _reason(states: Mapping[str, PartitionState]) -> str:
    """Why nothing is requested, in numbers."""
    failed = sum(state.retryable_failed for state in states.values())
    permanent = sum(state.permanent_failed for state in states.values())
    running = sum(state.in_flight for state in states.values())
    return (
        f"nothing to ask again now: {failed} failed chips wait for their time or have had their "
        f"attempts, {permanent} wait for a person; {running} partitions are being worked on"
    )


def _end_dead_runs(instance: dg.DagsterInstance, layout: Layout) -> list[str]:
    """Mark as failed the runs that were killed, and return their ids.

    Dagster shows a run whose process was killed as started, for a day with our settings; its
    locks tell that it is dead. Else its partitions would wait, and it would keep a place in the
    queue and in its pool.
    """
    from geo_assets.storage.partition_lock import dead_owners

    ended = []
    for run_id in sorted(dead_owners(layout.locks)):
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status in ACTIVE:
            instance.report_run_failed(run, "The process of the run was killed.")
            # Where pools count steps, Dagster leaves their places taken.
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
            ended.append(run_id)
    return ended
