"""Schedules: the campaign once a week, a daily look for new scenes and at what is left failed.

Multi-partitions without a time dimension have no built-in schedule, so each tick names its keys.
All schedules start switched off. https://docs.dagster.io/guides/automate/schedules
"""

from __future__ import annotations

# Dagster resolves the annotations of a schedule's function when it is defined.
from collections.abc import Iterator  # noqa: TC003
from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.assets.label_models import lending_keys
from geo_assets.assets.scene_watch import LOOK
from geo_assets.jobs import EVERYTHING, LEFT_OVER
from geo_assets.partitions import partition_keys, tags_of_everything

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets.campaign import Campaign
    from geo_assets.jobs import Job


def build_schedules(campaign: Campaign, jobs: Mapping[str, Job]) -> list[dg.ScheduleDefinition]:
    """Return the schedules of a campaign."""

    @dg.schedule(
        name="weekly",
        job=jobs[EVERYTHING],
        cron_schedule="0 3 * * 1",
        description="Mondays at 03:00: every fold and split of the campaign.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time.isoformat()
        if lending_keys(campaign):
            # Only within one run does the partition whose model the others borrow come first.
            yield dg.RunRequest(run_key=tick, tags=tags_of_everything(campaign))
            return
        for key in partition_keys(campaign):
            yield dg.RunRequest(run_key=f"{tick} {key}", partition_key=key)

    @dg.schedule(
        name="failed_left_over",
        job=jobs[LEFT_OVER],
        cron_schedule="0 6 * * *",
        description="Daily at 06:00: reports the chips that are left failed.",
    )
    def failed_left_over(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    schedules = [weekly, failed_left_over]
    if LOOK in jobs:

        @dg.schedule(
            name="daily_look_for_scenes",
            job=jobs[LOOK],
            cron_schedule="0 2 * * *",
            description="Daily at 02:00: looks for new scenes; new_scenes_sensor requests runs.",
        )
        def daily_look_for_scenes(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
            return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

        schedules.append(daily_look_for_scenes)
    return schedules
