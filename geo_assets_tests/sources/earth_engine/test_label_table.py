"""Label tables on the service: classes that are numbers, and tables that do not fit a campaign."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import geopandas
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.core.labels import LabelRules, validate_labels
from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.credentials import Connection
from geo_assets.sources.earth_engine.label_table import LabelTable
from geo_assets.sources.earth_engine.policy import RequestPolicy
from geo_assets.sources.earth_engine.session import open_session
from geo_assets.sources.earth_engine.source import EarthEngineRules, EarthEngineSource
from geo_assets.sources.protocol import SceneQuery
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets_tests.emulators.earth_engine import Assets
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

GRID = GeoBox((16, 40), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
COLLECTION, TABLE = "projects/test/assets/images", "projects/test/assets/fields"
RULES = CompositeRules(("a",), "median", None, CloudRules(None), all_touched=True, overlap="max")
DAY = dt.date(2021, 6, 1)


def polygons(classes, splits):
    """A square of 4 pixels a side for each class, side by side."""
    squares = [
        shapely.box(*(GRID.affine @ (10 * n + 2, 8)), *(GRID.affine @ (10 * n + 6, 4)))
        for n in range(len(classes))
    ]
    # Not quite whole pixels: an edge in between must touch no other pixel.
    shrunk = [square.buffer(-2) for square in squares]
    return geopandas.GeoDataFrame(
        {"crop": classes, "part": splits}, geometry=shrunk, crs="EPSG:32633"
    )


@pytest.fixture
def service(monkeypatch, tmp_path):
    monkeypatch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path))
    assets = Assets()
    assets.add_image_function(
        COLLECTION,
        "one",
        grid=GRID,
        bands=["a"],
        dtype="uint8",
        value=lambda row, col, _: row + col,
        time_start=dt.datetime.combine(DAY, dt.time(12), dt.UTC),
    )
    with EarthEngineEmulator(assets) as emulator:
        session = open_session(Connection(emulator.url, "test", "none", None), RequestPolicy())
        yield assets, EarthEngineSource(EarthEngineRules(COLLECTION), session)


def burned(source, table):
    """The label values that the service burns at the middle of each square."""
    from geo_assets.core.areas import ClusterBox

    box = ClusterBox(0, "EPSG:32633", GRID.boundingbox.bbox, 1)
    items = source.select(SceneQuery(box, DAY, DAY, ("a",))).items
    composite = source.composite(items, GRID, RULES, source.pinned(table))
    return source.read(composite, GRID).data[-1][6, 4::10].tolist()


@pytest.mark.parametrize(
    "crops",
    [
        [1, 2, 10, 2],
        [1.0, 2.0, 10.0, 2.0],
        ["1", "2", "10", "2"],
        [0.5, 1.5, 2.5, 1.5],
        ["oat", "rye", "wheat", "rye"],
    ],
)
def test_classes_in_a_table_are_those_of_the_same_file_read_here(crops, service):
    assets, source = service
    frame = polygons(crops, ["x", "x", "x", "y"])
    rules = LabelRules(["all"], ["x", "y"], None, None, "part", "crop")
    here = validate_labels(frame, rules, source_name="here")
    assets.add_table(TABLE, frame)
    table = LabelTable(TABLE, "part", "x", "crop", here.classes, "max")
    assert burned(source, table) == [1, 2, 3, 255]
    assert here.frame["class"].tolist() == [1, 2, 3, 2]


def test_splits_may_be_numbers(service):
    assets, source = service
    assets.add_table(TABLE, polygons(["oat"] * 4, [0, 1, 0, 1]))
    assert burned(source, LabelTable(TABLE, "part", "0", None, {}, "max")) == [1, 255, 1, 255]


def test_a_table_that_is_missing_is_named(service):
    _, source = service
    with pytest.raises(SourceError, match=rf"labels\.tables: '{TABLE}' cannot be read.*not found"):
        source.pinned(LabelTable(TABLE, "part", "x", None, {}, "max"))


def test_what_is_no_table_is_refused(service):
    _, source = service
    with pytest.raises(SourceError, match="is no table but IMAGE_COLLECTION"):
        source.pinned(LabelTable(COLLECTION, "part", "x", None, {}, "max"))


def test_a_table_without_polygons_of_the_split_is_refused(service):
    assets, source = service
    assets.add_table(TABLE, polygons(["oat"] * 2, ["x", "x"]))
    table = LabelTable(TABLE, "part", "x", None, {}, "max")
    assert source.pinned(table).version
    with pytest.raises(SourceError, match="no polygon whose property 'part' is 'z'"):
        source.pinned(replace(table, split="z"))
    with pytest.raises(SourceError, match="no polygon whose property 'portion' is 'x'"):
        source.pinned(replace(table, split_column="portion"))


def test_a_table_with_polygons_of_an_unknown_class_is_refused(service):
    assets, source = service
    assets.add_table(TABLE, polygons(["oat", "maize", "oat"], ["x", "x", "y"]))
    table = LabelTable(TABLE, "part", "x", "crop", {"oat": 1, "rye": 2}, "max")
    said = r"1 of 2 polygons of 'x' have a 'crop' that is none of the classes \['oat', 'rye'\]"
    with pytest.raises(SourceError, match=said):
        source.pinned(table)
    assert (
        source.pinned(replace(table, split="y")).version
        == source.pinned(replace(table, split="y")).version
    )
