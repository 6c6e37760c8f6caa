"""The emulated services speak in the form of the real ones, whose items they are made of."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pytest
import rasterio

from geo_assets.errors import SourceError
from geo_assets.sources.scenes.mgrs_tiles import mgrs_tile
from geo_assets.sources.scenes.reflectance import digital_number_offset
from geo_assets_tests.emulators import earth_search, planetary_computer
from geo_assets_tests.emulators.sentinel_tiles import Tile, land_at, parcels, refine

pytestmark = pytest.mark.real_data

WHEN = dt.datetime(2021, 7, 3, 15, 49, 11, tzinfo=dt.UTC)
# Of the collection that the service's other items are of.
ADDED = {"earthsearch:boa_offset_applied", "s2:sequence"}
DROPPED = {"file:checksum", "file:size"}


def the_real(real_data, service):
    content = json.loads((real_data / service.TEMPLATE).read_text(encoding="utf-8"))
    return content["features"][0]


def form(value):
    """Keys and types of a value, without what it says."""
    match value:
        case dict():
            return {key: form(inner) for key, inner in value.items() if key not in DROPPED}
        case list() if all(isinstance(inner, int | float) for inner in value):
            return len(value)
        case int() | float():
            return "number"
        case _:
            return type(value).__name__


@pytest.fixture
def planetary(real_data):
    real = the_real(real_data, planetary_computer)
    scene = planetary_computer.Acquisition(Tile("18TWR"), WHEN, 2.5)
    return real, planetary_computer.scene_item(real, scene)


def test_an_item_of_the_planetary_computer_has_the_form_of_a_real_one(planetary):
    real, made = planetary
    for part in ("properties", "assets", "stac_extensions", "stac_version", "collection"):
        assert form(made[part]) == form(real[part]), part
    assert [link["rel"] for link in made["links"]] == [link["rel"] for link in real["links"]]


def test_nothing_of_the_real_items_place_and_time_is_left(planetary):
    real, made = planetary
    text = json.dumps(made)
    for word in ("13TDE", "13/T/DE", "20240825", "2024/08/25", "32613", "N0511"):
        assert word in json.dumps(real)
        assert word not in text
    assert made["id"].startswith("S2B_MSIL2A_20210703T154911_")
    assert mgrs_tile(made) == made["properties"]["s2:mgrs_tile"] == "18TWR"
    assert digital_number_offset(made, "B04", {}) == 0


def test_an_item_without_baseline_is_decided_by_a_rule_alone(real_data):
    scene = planetary_computer.Acquisition(Tile("18TWR"), WHEN, 2.5, baseline=None)
    item = planetary_computer.scene_item(the_real(real_data, planetary_computer), scene)
    with pytest.raises(SourceError, match=r"imagery\.offsets"):
        digital_number_offset(item, "B04", {})
    assert digital_number_offset(item, "B04", {"sentinel-2-l2a": -1000}) == -1000


@pytest.mark.parametrize("baseline", ["02.13", "05.00"])
def test_an_item_of_earth_search_has_the_form_of_a_real_one(real_data, baseline):
    real = the_real(real_data, earth_search)
    scene = earth_search.Acquisition(Tile("33UUU"), WHEN, 0.5, baseline)
    made = earth_search.scene_item(real, scene, "http://127.0.0.1")
    assert set(made["properties"]) == set(real["properties"]) | ADDED
    assert form(made["assets"]) == form(real["assets"])
    assert made["stac_extensions"] == real["stac_extensions"]
    assert mgrs_tile(made) == "33UUU"
    # Older products carry no offset, and of newer ones the service has taken it off.
    assert digital_number_offset(made, "red", {}) == 0


def test_bands_of_all_resolutions_show_one_truth_on_the_tiles_grids(planetary, tmp_path):
    _, item = planetary
    tile = Tile("18TWR")
    cells = tile.window((585_080, 5_032_000, 586_000, 5_032_950))
    land = parcels(cells.shape, 4, seed=3)
    spectra = np.arange(4 * 12).reshape(4, 12) * 100 + 500
    scene = planetary_computer.Acquisition(tile, WHEN, 2.5)
    planetary_computer.write_scene(tmp_path, item, scene, land=land, cells=cells, spectra=spectra)
    for resolution, bands in planetary_computer.RESOLUTIONS.items():
        asset = item["assets"][bands[0]]
        path = tmp_path / asset["href"].split("/", 3)[3]
        with rasterio.open(path) as file:
            assert list(file.shape) == asset["proj:shape"]
            assert list(file.transform)[:6] == asset["proj:transform"]
            where = refine(cells, resolution)
            window = file.window(*where.boundingbox.bbox)
            found = file.read(1, window=window)
            assert not file.read(1, window=((0, 8), (0, 8))).any()
        index = [name for names in planetary_computer.RESOLUTIONS.values() for name in names]
        expected = spectra[land_at(land, cells, where) - 1, index.index(bands[0])]
        assert np.abs(found.astype(int) - expected).max() <= 15
        assert path.stat().st_size < 1_000_000
