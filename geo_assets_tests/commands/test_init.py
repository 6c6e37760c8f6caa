from __future__ import annotations

import datetime as dt

import geopandas
import numpy as np
import pytest
import yaml
from shapely.geometry import box

from geo_assets.campaign_file import load_campaign

DAYS = ("--start", "2021-05-01", "--end", "2021-08-31")


def _areas(path, layer=None, **columns):
    count = max((len(values) for values in columns.values()), default=2)
    squares = [box(10 + n, 52, 10.1 + n, 52.1) for n in range(count)]
    frame = geopandas.GeoDataFrame(columns, geometry=squares, crs=4326)
    frame.to_file(path, **({} if layer is None else {"layer": layer}))
    return path


def test_a_campaign_of_folds_splits_and_classes(tmp_path, command):
    area = _areas(
        tmp_path / "my farm.geojson",
        fold=["west", "west", "east"],
        split=["train", "test", "train"],
        label=["oat", "rye", "oat"],
    )
    done = command("init", area, *DAYS)
    assert done.exit_code == 0
    path = tmp_path / "my-farm.yaml"
    assert done.output == (
        f"Wrote {path}\nNext: export GEO_ASSETS_CAMPAIGN={path} && geo-assets doctor\n"
    )
    campaign = load_campaign(str(path))
    assert campaign.name == "my-farm"
    assert (campaign.folds, campaign.splits) == (("east", "west"), ("train", "test"))
    assert campaign.areas.file == area
    assert campaign.areas.fold_column == "fold"
    assert campaign.areas.split_column == "split"
    assert campaign.areas.class_column == "label"
    assert campaign.chips.keep == "labelled"
    assert campaign.start == dt.date(2021, 5, 1)
    assert "file: my farm.geojson" in path.read_text()


def test_a_campaign_of_plain_areas(tmp_path, command):
    done = command("init", _areas(tmp_path / "aoi.geojson"), *DAYS)
    assert done.exit_code == 0
    campaign = load_campaign(str(tmp_path / "aoi.yaml"))
    assert (campaign.folds, campaign.splits) == (("all",), ("all",))
    assert campaign.areas.class_column is None
    assert campaign.chips.keep == "all"


@pytest.mark.parametrize(
    ("values", "folds"),
    [
        (["no", "yes"], ("no", "yes")),
        (["null", "true"], ("null", "true")),
        (["1", "0x1F"], ("0x1F", "1")),
        ([1, 2], ("1", "2")),
        ([1.0, np.nan], ("1",)),
        (["1e5", "2021-05-01"], ("1e5", "2021-05-01")),
        (["off", "1_000"], ("1_000", "off")),
    ],
    ids=str,
)
def test_names_that_yaml_would_read_as_something_else(tmp_path, command, values, folds):
    """Norway's `no` is a fold, not a false."""
    done = command("init", _areas(tmp_path / "aoi.geojson", fold=values), *DAYS)
    assert done.exit_code == 0
    assert load_campaign(str(tmp_path / "aoi.yaml")).folds == folds


@pytest.mark.parametrize("name", ["no", "7", "2021-05-01", "a: b", "null", "#x", "ä ö", "-"])
def test_file_names_that_yaml_would_read_as_something_else(tmp_path, command, name):
    area = _areas(tmp_path / f"{name}.geojson")
    target = tmp_path / "out.yaml"
    done = command("init", area, *DAYS, "-o", target)
    assert done.exit_code == 0, done.output
    campaign = load_campaign(str(target))
    assert campaign.areas.file == area
    assert campaign.title == f"Chips and NDVI of {name}.geojson"


def test_values_that_cannot_be_names_are_refused(tmp_path, command):
    done = command("init", _areas(tmp_path / "aoi.geojson", fold=["a: b", "x"]), *DAYS)
    assert done.exit_code == 1
    assert done.stderr.startswith(
        "Error: aoi.geojson: column 'fold' has the values ['a: b']; allowed are letters A-Z"
    )
    assert not (tmp_path / "aoi.yaml").exists()


def test_a_campaign_that_exists_is_not_overwritten(tmp_path, command):
    area = _areas(tmp_path / "aoi.geojson")
    (tmp_path / "aoi.yaml").write_text("mine")
    done = command("init", area, *DAYS)
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: {tmp_path / 'aoi.yaml'}: exists already; give another file with --output\n"
    )
    assert (tmp_path / "aoi.yaml").read_text() == "mine"


def test_a_campaign_that_would_not_validate_is_not_written(tmp_path, command):
    area = _areas(tmp_path / "aoi.geojson")
    done = command("init", area, "--start", "2021-08-31", "--end", "2021-05-01")
    assert done.exit_code == 1
    assert "end: 2021-05-01 lies before start: 2021-08-31" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aoi.geojson"]


def test_a_campaign_away_from_its_areas_finds_them(tmp_path, command):
    area = _areas(tmp_path / "aoi.geojson")
    target = tmp_path / "campaigns/deep/mine.yaml"
    assert command("init", "aoi.geojson", *DAYS, "-o", target).exit_code == 0
    assert load_campaign(str(target)).areas.file == area


def test_a_static_catalog_is_found_from_the_campaign(tmp_path, command):
    """A path on the command line is meant from where one stands, in a campaign from its file."""
    _areas(tmp_path / "aoi.geojson")
    options = ("--catalog", "stac/catalog.json", "-o", tmp_path / "campaigns/mine.yaml")
    assert command("init", "aoi.geojson", *DAYS, *options).exit_code == 0
    imagery = load_campaign(str(tmp_path / "campaigns/mine.yaml")).imagery
    assert imagery.catalog == str(tmp_path / "stac/catalog.json")
    assert imagery.collections == ()


@pytest.mark.parametrize(
    ("catalog", "collections", "signing"),
    [
        ((), ("sentinel-2-l2a",), "none"),
        (
            ("--catalog", "https://planetarycomputer.microsoft.com/api/stac/v1"),
            ("sentinel-2-l2a",),
            "planetary-computer",
        ),
        (("--catalog", "https://stac.example/v1"), (), "none"),
    ],
)
def test_known_catalogs_are_asked_for_sentinel_2(tmp_path, command, catalog, collections, signing):
    assert command("init", _areas(tmp_path / "aoi.geojson"), *DAYS, *catalog).exit_code == 0
    imagery = load_campaign(str(tmp_path / "aoi.yaml")).imagery
    assert (imagery.collections, imagery.signing) == (collections, signing)


def test_one_layer_of_several_is_named(tmp_path, command):
    area = _areas(tmp_path / "many.gpkg", layer="fields")
    _areas(area, layer="woods")
    done = command("init", area, *DAYS)
    assert done.exit_code == 1
    assert "several layers" in done.stderr
    assert command("init", area, *DAYS, "--layer", "fields").exit_code == 0
    assert yaml.safe_load((tmp_path / "many.yaml").read_text())["areas"]["layer"] == "fields"


@pytest.mark.parametrize("content", [None, b"", b"not a vector"])
def test_what_is_no_vector_file_is_refused_in_one_line(tmp_path, command, content):
    area = tmp_path / "aoi.geojson"
    if content is not None:
        area.write_bytes(content)
    done = command("init", area, *DAYS)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {area}: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("days", [(), ("--start", "2021-05-01"), ("--start", "May", "--end", "x")])
def test_days_are_asked_for(tmp_path, command, days):
    done = command("init", _areas(tmp_path / "aoi.geojson"), *days)
    assert done.exit_code == 2
    assert "Usage" in done.stderr


def test_a_campaign_on_earth_engine(tmp_path, command):
    area = _areas(tmp_path / "aoi.geojson", split=["train", "test"])
    done = command(
        "init", area, *DAYS, "--earth-engine", "COPERNICUS/S2_SR_HARMONIZED", "--bands", "B4, B8"
    )
    assert done.exit_code == 0, done.output
    campaign = load_campaign(str(tmp_path / "aoi.yaml"))
    assert campaign.imagery.kind == "earth-engine"
    assert campaign.imagery.collection == "COPERNICUS/S2_SR_HARMONIZED"
    assert campaign.composite.bands == ("B4", "B8")
    assert campaign.cube is None


def test_earth_engine_names_its_own_bands(tmp_path, command):
    done = command("init", _areas(tmp_path / "aoi.geojson"), *DAYS, "--earth-engine", "a/b")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: --earth-engine a/b: needs --bands too, ")
    assert not (tmp_path / "aoi.yaml").exists()


def test_what_makes_no_campaign_is_told_of_the_file_that_was_asked_for(tmp_path, command):
    done = command("init", _areas(tmp_path / "aoi.geojson"), *DAYS, "--bands", "red,red")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: aoi.yaml: composite.bands")
    assert list(tmp_path.glob("*.yaml")) == list(tmp_path.glob(".*")) == []


def test_imagery_comes_from_one_place(tmp_path, command):
    area = _areas(tmp_path / "aoi.geojson")
    done = command("init", area, *DAYS, "--earth-engine", "a", "--catalog", "b", "--bands", "c")
    assert done.exit_code == 2
    assert "imagery comes from one of them" in done.stderr


def test_bands_are_the_composites(tmp_path, command):
    done = command("init", _areas(tmp_path / "aoi.geojson"), *DAYS, "--bands", "red,nir")
    assert done.exit_code == 0
    campaign = load_campaign(str(tmp_path / "aoi.yaml"))
    assert campaign.composite.bands == ("red", "nir")
    assert campaign.cube is not None
