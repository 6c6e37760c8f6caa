"""Sensors: thin shells that gather facts and hand the decision to a pure function.

``failed_chips_sensor`` requests the partitions whose chips failed and may succeed when asked
again; the decision (which, when, how often) is ``core/redownload.py``. No network in a sensor.
https://docs.dagster.io/guides/automate/sensors
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.core.redownload import RequestPolicy, partitions_to_request
from geo_assets.jobs import REDOWNLOAD
from geo_assets.partitions import fold_and_split, partition_keys

# Dagster reads the annotations of a function when it is defined.
from geo_assets.resources import Results  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from geo_assets.campaign import Campaign

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_sensors(
    campaign: Campaign, jobs: Mapping[str, UnresolvedAssetJobDefinition]
) -> list[dg.SensorDefinition]:
    """Return the sensors of a campaign."""
    policy = RequestPolicy()

    @dg.sensor(
        job=jobs[REDOWNLOAD],
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
        from geo_assets.storage.chip_paths import ChipPaths
        from geo_assets.storage.chip_state import partition_state

        layout = results.layout(campaign.name)
        busy = _partitions_in_flight(context.instance, campaign)
        states = {
            key: replace(state, in_flight=True) if key in busy else state
            for key in partition_keys(campaign)
            for state in [partition_state(ChipPaths.of(layout.folder, *fold_and_split(key)))]
        }
        cursor = json.loads(context.cursor) if context.cursor else {}
        requests, cursor = partitions_to_request(states, cursor, dt.datetime.now(dt.UTC), policy)
        reason = None
        if not requests:
            waiting = sum(state.permanent_failed for state in states.values())
            reason = f"nothing to ask again now; {waiting} chips wait for a person"
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=request.run_key,
                    partition_key=request.key,
                    tags={"geo_assets/attempt": str(request.attempt)},
                )
                for request in requests
            ],
            skip_reason=reason,
            cursor=json.dumps(cursor, sort_keys=True),
        )

    return [failed_chips_sensor]


def _partitions_in_flight(instance: dg.DagsterInstance, campaign: Campaign) -> set[str]:
    """Partitions that an unfinished run of the campaign works on or will."""
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
        selected = run.asset_selection or set()
        ours = run.tags.get("geo_assets/campaign") == campaign.name or any(
            key.path[0] == campaign.name for key in selected
        )
        if not ours:
            continue
        if "dagster/asset_partition_range_start" in run.tags:
            return set(partition_keys(campaign))
        if key := run.tags.get("dagster/partition"):
            busy.add(key)
    return busy
