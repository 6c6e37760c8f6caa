"""What people read when they ask Earth Engine for what it has not, or for too much."""

from __future__ import annotations

import datetime as dt
import re

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.campaign_file import load_campaign
from geo_assets.sources.earth_engine import sizes
from geo_assets_tests.acceptance.support import Workplace, materialize, metadata_of, say
from geo_assets_tests.emulators.earth_engine import Assets
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

COLLECTION, TABLE = "projects/errors/assets/images", "projects/errors/assets/fields"
GRID = GeoBox((600, 600), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
KEY = "all|all"
BEFORE = ("labels", "aoi_clusters", "scenes", "composite_image", "chip_grid")
CAMPAIGN = """\
name: errors
areas: {{file: areas.geojson}}
imagery: {{kind: earth-engine, collection: {collection}, cloud_score: {score}}}
start: 2021-06-01
end: 2021-06-30
composite: {{bands: {bands}, reducer: {reducer}, dtype: {dtype}}}
labels: {{tables: {tables}}}
chips: {{size: {size}, keep: all, max_count: 10, preview_bands: [B4, B4, B4]}}
"""
DEFAULTS = {
    "collection": COLLECTION,
    "bands": "[B4, B8]",
    "reducer": "median",
    "dtype": "native",
    "tables": "null",
    "score": "null",
    "size": 64,
}


@pytest.fixture(scope="module")
def emulator():
    assets = Assets()
    for day in (5, 15, 25):
        assets.add_image_function(
            COLLECTION,
            f"image-{day}",
            grid=GRID,
            bands=["B4", "B8"],
            dtype="uint16",
            value=lambda row, col, band: row + col + band,
            time_start=dt.datetime(2021, 6, day, 10, tzinfo=dt.UTC),
        )
    with EarthEngineEmulator(assets) as running:
        yield running


@pytest.fixture
def place(tmp_path, emulator, monkeypatch):
    monkeypatch.setenv("GEO_ASSETS_EE_PROJECT", "errors")
    monkeypatch.setenv("GEO_ASSETS_EE_URL", emulator.url)
    monkeypatch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path / "limits"))
    west, south = GRID.affine @ (20, 80)
    geopandas.GeoDataFrame(
        geometry=[shapely.box(west, south, west + 500, south + 500)], crs="EPSG:32633"
    ).to_crs("EPSG:4326").to_file(tmp_path / "areas.geojson", driver="GeoJSON")
    return Workplace(tmp_path)


def campaign_in(place, **changes):
    path = place.folder / "errors.yaml"
    path.write_text(CAMPAIGN.format(**DEFAULTS | changes))
    return load_campaign(str(path))


def refusal(place, campaign, assets=BEFORE):
    """What a run that must fail says: the message of the innermost failure."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # judged by its text
        materialize(campaign, place, assets)
    said = str(caught.value)
    say(f"\n{type(caught.value).__name__}: {said}")
    return said


def test_an_unknown_collection_is_named(place):
    said = refusal(place, campaign_in(place, collection="projects/errors/assets/other"))
    assert "imagery.collection: 'projects/errors/assets/other' cannot be listed" in said
    assert "not found (does not exist or caller does not have access)" in said
    assert "check the id, and that the project may read it" in said


def test_cloud_scores_that_are_not_there_are_named_before_any_chip(place):
    said = refusal(place, campaign_in(place, score="{collection: projects/errors/assets/scores}"))
    assert "imagery.cloud_score.collection: 'projects/errors/assets/scores' cannot be read" in said


def test_a_missing_project_is_said_with_how_to_get_one(place, monkeypatch):
    monkeypatch.delenv("GEO_ASSETS_EE_PROJECT")
    said = refusal(place, campaign_in(place))
    assert "GEO_ASSETS_EE_PROJECT is not set" in said
    assert "https://code.earthengine.google.com/register" in said


def test_a_band_that_no_image_has_is_named_beside_those_they_have(place):
    campaign = campaign_in(place, bands="[B4, B9]")
    said = refusal(place, campaign)
    assert f"none of the 3 images of '{COLLECTION}' has all of the bands B4, B9" in said
    assert "has no B9; it has B4, B8" in said


def test_a_chip_of_too_many_bytes_is_refused_before_it_is_asked(place, emulator):
    campaign = campaign_in(place, size=4096, dtype="float32")
    materialize(campaign, place, BEFORE)
    emulator.ledger.reset()
    said = refusal(place, campaign, ("chip_catalog",))
    assert "4096 x 4096 pixels in 3 bands is 201,326,592 bytes" in said
    assert "allowed are 50,331,648: use smaller chips" in said
    assert emulator.ledger.requests_by_chip() == {}


def test_an_expression_that_is_too_long_is_refused_before_it_is_asked(place, emulator, monkeypatch):
    campaign = campaign_in(place)
    materialize(campaign, place, BEFORE[:3])
    monkeypatch.setattr(sizes, "MAX_EXPRESSION_BYTES", 1000)
    emulator.ledger.reset()
    said = refusal(place, campaign, ("composite_image",))
    assert re.search(r"the serialised expression is [\d,]+ bytes; allowed are 1,000", said)
    assert "use fewer scenes a composite" in said
    assert emulator.ledger.requests_by_chip() == {}


def test_a_table_that_is_not_there_is_named(place):
    said = refusal(place, campaign_in(place, tables=f"{{all: {TABLE}}}"))
    assert f"labels.tables: '{TABLE}' cannot be read" in said


def test_a_composite_that_changed_since_is_to_be_made_first(place):
    materialize(campaign_in(place), place, BEFORE)
    said = refusal(place, campaign_in(place, reducer="max"), ("chip_catalog",))
    assert "cluster-0" in said
    assert "changed since it was made; materialize composite_image first" in said


def test_chips_of_a_campaign_that_asks_for_what_is_there(place):
    campaign = campaign_in(place)
    run = materialize(campaign, place, (*BEFORE, "chip_catalog"))
    facts = metadata_of(run, campaign, "chip_catalog")[KEY]
    assert facts["failed"] == 0
    assert facts["requests"] == facts["ok"] > 0
    assert np.isfinite(facts["bytes"])
