from __future__ import annotations

import logging
from types import SimpleNamespace

import dagster as dg
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.assets.chips import _check_size
from geo_assets.errors import CampaignError
from geo_assets_tests.small_world import World


def _partition(**chips):
    rules = {"size": 64, "overlap": 0.0, "border": "pad", "max_count": 100} | chips
    campaign = SimpleNamespace(chips=SimpleNamespace(**rules))
    return SimpleNamespace(campaign=campaign, log=logging.getLogger("chips"))


def _area(rows, cols):
    return GeoBox((rows, cols), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")


def test_more_chips_than_allowed_are_refused_with_their_number():
    with pytest.raises(CampaignError, match=r"1,\d{3} chips of 64 pixels .* allows 100"):
        _check_size(_partition(overlap=0.5), {0: _area(1024, 1024)})


def test_an_area_smaller_than_a_chip_is_warned_of(caplog):
    _check_size(_partition(), {0: _area(320, 320), 3: _area(30, 320)})
    assert [record.message.split(":")[0][-9:] for record in caplog.records] == ["cluster 3"]


def test_chips_of_clusters_that_are_not_worked_on_stay(tmp_path):
    """``clusters.only`` names a cluster that this partition does not have."""
    with dg.DagsterInstance.ephemeral() as instance:
        # With it the polygons say how many clusters there are, and any may be named.
        roomy = {"clusters.max_box_km": 100}
        world = World(tmp_path, instance, roomy)
        world.run("areas_and_chips", "north|train")
        catalog = world.layout.chip_catalog("north", "train")
        before, chips = catalog.read_bytes(), len(list(tmp_path.rglob("*.tif")))
        restricted = World(tmp_path, instance, roomy | {"clusters.only": [1]})
        restricted.run("areas_and_chips", "north|train")
    assert catalog.read_bytes() == before
    assert len(list(tmp_path.rglob("*.tif"))) == chips
