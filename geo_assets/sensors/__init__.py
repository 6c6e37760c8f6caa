"""Sensors: thin shells that gather facts and hand the decision to a pure function.

One file for each sensor; what they have in common is ``runs``. No network in a sensor: it is
evaluated every minute in a process that all share.
https://docs.dagster.io/guides/automate/sensors
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.jobs import EVERYTHING, REDOWNLOAD
from geo_assets.sensors.failed_chips import failed_chips
from geo_assets.sensors.new_scenes import new_scenes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import dagster as dg

    from geo_assets.campaign import Campaign
    from geo_assets.jobs import Job


def build_sensors(
    campaign: Campaign, jobs: Mapping[str, Job], names: AbstractSet[str]
) -> list[dg.SensorDefinition]:
    """Return the sensors of a campaign.

    Args:
        campaign: The campaign.
        jobs: Its jobs by name.
        names: The assets that its source supports.
    """
    sensors = [failed_chips(campaign, jobs[REDOWNLOAD])]
    if "ndvi_cube" in names:
        sensors.append(new_scenes(campaign, jobs[EVERYTHING], names))
    return sensors
