"""The front door for Dagster: ``defs`` of the campaign that ``GEO_ASSETS_CAMPAIGN`` names.

Each packaged campaign is an attribute too, so that one deployment can hold several code locations
(``attribute: cashew`` in ``workspace.yaml``). Importing this module loads no heavy library: it is
imported by every Dagster process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.build import build_defs
from geo_assets.campaign_file import load_campaign, packaged_campaigns

if TYPE_CHECKING:
    import dagster as dg

defs = build_defs(load_campaign())


def __getattr__(name: str) -> dg.Definitions:
    """Return the definitions of a packaged campaign."""
    if name in packaged_campaigns():
        return build_defs(load_campaign(name))
    raise AttributeError(f"geo_assets.definitions has no attribute {name!r}")
