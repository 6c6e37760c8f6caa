"""What items say of how a scene was processed, under the names of new and old catalogues.

Pixels change with these properties while the id of a scene stays. What they mean for an offset is
in ``reflectance``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo_assets.sources.protocol import Item

BASELINE = "s2:processing_baseline"
OFFSET_APPLIED = "earthsearch:boa_offset_applied"
VERSION = "ee:version"

LEGACY_BASELINE = "sentinel:processing_baseline"
LEGACY_OFFSET_APPLIED = "sentinel:boa_offset_applied"
"""What Earth Search v0 calls them (the flag since 2022)."""


def baseline_property(item: Item) -> str | None:
    """Return the name of the property that states an item's processing baseline, if any."""
    names = (BASELINE, LEGACY_BASELINE)
    return next((name for name in names if item["properties"].get(name) is not None), None)


def stated_version(item: Item) -> str:
    """Return what an item states of how its pixels were made; empty if it states nothing."""
    said = item["properties"]
    names = (BASELINE, OFFSET_APPLIED, VERSION, LEGACY_BASELINE, LEGACY_OFFSET_APPLIED)
    return " ".join(f"{name}={said[name]}" for name in names if said.get(name) is not None)
