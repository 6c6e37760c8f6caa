"""Small campaigns for tests of orchestration: content with changes, written as YAML."""

from __future__ import annotations

import copy
import datetime as dt

import yaml

from geo_assets.campaign_file import load_campaign

ABSENT = object()
"""A change that takes the key away."""

CONTENT = {
    "name": "tiny",
    "title": "Two folds and two splits of nearly nothing",
    "folds": ["north", "south"],
    "splits": ["train", "test"],
    "areas": {"file": "areas.geojson", "fold_column": "fold", "split_column": "split"},
    "imagery": {"kind": "stac", "catalog": "catalog.json"},
    "start": dt.date(2021, 1, 1),
    "end": dt.date(2021, 12, 31),
    "composite": {"bands": ["B04", "B08"]},
    "chips": {"size": 16},
}
"""A valid campaign."""


def campaign_content(changes=None):
    """The valid campaign with changes, their keys written ``chips.size``."""
    content = copy.deepcopy(CONTENT)
    for place, value in (changes or {}).items():
        *sections, key = place.split(".")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
        if value is ABSENT:
            del section[key]
        else:
            section[key] = copy.deepcopy(value)
    return content


def write_campaign(folder, changes=None):
    """Write the campaign with changes below ``folder`` and return its file."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(campaign_content(changes)), encoding="utf-8")
    return path


def a_campaign(folder, changes=None):
    """Load the campaign with changes from its file below ``folder``."""
    return load_campaign(str(write_campaign(folder, changes)))
