"""Label bands that the service burns from tables: the same pixels as those burned here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from geo_assets.campaign_file import load_campaign
from geo_assets.jobs import AREAS_AND_CHIPS
from geo_assets.partitions import fold_and_split
from geo_assets.storage.chips.catalog import read_rows
from geo_assets_tests.acceptance.earth_engine_support import (
    FOLDS,
    TABLE,
    cashew,
    serve_assets,
)
from geo_assets_tests.acceptance.support import Workplace, materialize, metadata_of, say
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

if TYPE_CHECKING:
    from geo_assets_tests.emulators.earth_engine.assets import Assets

pytestmark = pytest.mark.real_data

KEY = "fold1|train"
TABLES = "{" + ", ".join(f"{fold}: {TABLE.format(fold=fold)}" for fold in FOLDS) + "}"
CROPS = ("cashew", "mango", "oil palm")
CODES = (1, 12, 103)


@dataclass(frozen=True)
class Served:
    assets: Assets
    emulator: EarthEngineEmulator


@pytest.fixture(scope="module")
def served(real_data, tmp_path_factory):
    assets = serve_assets(real_data)
    with pytest.MonkeyPatch.context() as patch, EarthEngineEmulator(assets) as emulator:
        patch.setenv("GEO_ASSETS_EE_PROJECT", "cashew")
        patch.setenv("GEO_ASSETS_EE_URL", emulator.url)
        patch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path_factory.mktemp("limits")))
        yield Served(assets, emulator)


def campaign_in(folder, areas="", **changes):
    """The campaign with more said of its areas, and polygons that have a crop and its code."""
    path = cashew(folder, **changes)
    text = path.read_text().replace("  split_column: split\n", f"  split_column: split\n{areas}")
    path.write_text(text)
    for fold in FOLDS:
        file = folder / f"areas_{fold}.geojson"
        frame = geopandas.read_file(file)
        which = np.arange(len(frame)) * 7 // 3 % 3
        frame["crop"] = np.array(CROPS)[which]
        frame["code"] = np.array(CODES)[which]
        frame.to_file(file, driver="GeoJSON")
    return load_campaign(str(path))


def publish(served, folder, updated):
    """Put the polygons of a folder on the service, as a person uploads them."""
    for fold in FOLDS:
        name = TABLE.format(fold=fold)
        served.assets.add_table(name, folder / f"areas_{fold}.geojson")
        served.assets.updated[name] = updated


def chips_of(place, campaign):
    """Each chip's bands, and where they hold a datum."""
    catalog = place.layout(campaign).chip_catalog(*fold_and_split(KEY))
    found = {}
    for row in read_rows(catalog):
        with rasterio.open(catalog.parent / row.href) as file:
            found[row.spec.chip_id] = file.read(), file.dataset_mask()
    return found


def made_in(folder, campaign, place=None, assets=AREAS_AND_CHIPS):
    """Materialize the partition, and return what its catalog says."""
    place = place or Workplace(folder)
    return place, metadata_of(
        materialize(campaign, place, assets, keys=[KEY]), campaign, "chip_catalog"
    )[KEY]


NAMED = "  class_column: crop\n  classes: {mango: 9, cashew: 4, oil palm: 200}\n"
NUMBERED = "  class_column: code\n"


@pytest.mark.parametrize(
    ("areas", "values"),
    [(NAMED, {9, 4, 200}), (NUMBERED, {1, 2, 3})],
    ids=["names", "numbers"],
)
def test_a_band_burned_there_is_the_band_burned_here(areas, values, served, tmp_path):
    here = campaign_in(tmp_path / "here", areas)
    there = campaign_in(tmp_path / "there", areas, tables=TABLES)
    publish(served, tmp_path / "there", "2026-01-01T00:00:00Z")
    place, _ = made_in(tmp_path / "here", here)
    other, metadata = made_in(tmp_path / "there", there)
    assert metadata["failed"] == 0
    expected, found = chips_of(place, here), chips_of(other, there)
    assert set(found) == set(expected)
    seen = set()
    for chip, (data, valid) in expected.items():
        np.testing.assert_array_equal(found[chip][0], data)
        np.testing.assert_array_equal(found[chip][1], valid)
        seen |= set(np.unique(data[-1]).tolist())
    say(f"\n{len(found)} chips alike, label values {sorted(seen)}, {metadata['requests']} requests")
    assert seen == {0, 255} | values, "otherwise a kind of polygon was never seen"


@pytest.fixture
def burned_there(served, tmp_path):
    folder = tmp_path / "first"
    campaign = campaign_in(folder, tables=TABLES)
    publish(served, folder, "2026-01-01T00:00:00Z")
    place, metadata = made_in(folder, campaign)
    return folder, campaign, place, metadata


def punch(file):
    """Cut a hole into the first polygon: it stays where it is, and burns other pixels."""
    frame = geopandas.read_file(file).to_crs("EPSG:26914")
    shapes = list(frame.geometry)
    shapes[0] = shapes[0].difference(shapes[0].centroid.buffer(20))
    assert len(shapely.get_rings(shapes[0])) == 2
    frame.geometry = shapes
    frame.to_crs("EPSG:4326").to_file(file, driver="GeoJSON")


def test_a_changed_table_asks_its_chips_again_and_a_changed_file_does_not(served, burned_there):
    folder, campaign, place, first = burned_there
    before = chips_of(place, campaign)
    punch(folder / "areas_fold1.geojson")
    _, metadata = made_in(folder, campaign, place)
    assert metadata["asked"] == 0, "a local polygon alone has changed"

    publish(served, folder, "2026-02-02T00:00:00Z")
    _, metadata = made_in(folder, campaign, place)
    assert metadata["asked"] == metadata["ok"] == first["ok"]
    after = chips_of(place, campaign)
    changed = {chip for chip in before if not np.array_equal(before[chip][0], after[chip][0])}
    assert 0 < len(changed) < len(before)
    for chip in before:
        np.testing.assert_array_equal(before[chip][0][:-1], after[chip][0][:-1])
