"""The campaigns that come with the package are what the programs they replace were."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.assets.areas import aoi_clusters, labels, read_boxes
from geo_assets.assets.step import Partition
from geo_assets.campaign_file import load_campaign
from geo_assets.products.area_grid import grid_of_area, mask_of_polygons
from geo_assets.resources import ImagerySource
from geo_assets.sources.label_files import read_labels
from geo_assets.storage.layout import Layout
from geo_assets_tests.conftest import REPOSITORY

ORIGINAL_GRID = GeoBox((207, 228), Affine(10, 0, 585080, 0, -10, 5032950), "EPSG:32618")
"""The grid of the land classification that timberlea replaces."""


@pytest.fixture
def timberlea():
    return load_campaign("timberlea")


@pytest.fixture
def doeberitz():
    return load_campaign("doeberitz")


def the_box_of(campaign, folder):
    """The box of the one cluster of a campaign, made by its own steps."""
    layout, log = Layout(folder, campaign.name), logging.getLogger(__name__)
    partition = Partition(campaign, layout, "all", "all", ImagerySource(), "test", log)
    for step in (labels, aoi_clusters):
        step.make(partition)
    (box,) = read_boxes(partition)
    return box


class NoSource:
    """A source that is never asked: the campaign states its grid."""

    def __getattr__(self, name):
        raise AssertionError(name)


def test_the_grid_of_timberlea_is_the_originals_exactly(timberlea, tmp_path):
    box = the_box_of(timberlea, tmp_path)
    grid = grid_of_area(NoSource(), box, [{"id": "any"}], timberlea.bands, timberlea.grid)
    assert grid == ORIGINAL_GRID
    # North to south about 2.1 km, west to east about 2.3 km.
    assert (grid.shape.y * 10, grid.shape.x * 10) == (2070, 2280)


def test_every_pixel_of_timberlea_lies_in_its_polygon(timberlea, tmp_path):
    frame = read_labels(timberlea, Layout(tmp_path, "timberlea")).frame
    assert mask_of_polygons(frame, ORIGINAL_GRID).all()


def test_timberlea_keeps_the_originals_parameters(timberlea):
    assert (timberlea.start, timberlea.end) == (dt.date(2021, 7, 1), dt.date(2021, 8, 30))
    assert 4.999998 < timberlea.clouds.max_cover < 5
    expected = {f"B{number:02d}" for number in range(1, 13)} - {"B10"} | {"B8A"}
    assert set(timberlea.composite.bands) == expected
    assert len(timberlea.composite.bands) == 12
    assert timberlea.land_cover.n_clusters == 4
    assert timberlea.imagery.collections == ("sentinel-2-l2a",)
    assert timberlea.imagery.signing == "planetary-computer"


def test_doeberitz_keeps_the_originals_parameters(doeberitz):
    assert (doeberitz.start, doeberitz.end) == (dt.date(2020, 1, 1), dt.date(2020, 2, 1))
    assert doeberitz.clouds.max_cover == 1
    assert doeberitz.bands == ("B04", "B08")
    assert doeberitz.cube.outliers.rule == "median"
    assert doeberitz.cube.outliers.n_sigma == 10
    assert doeberitz.cube.area == "polygons"
    assert doeberitz.cube.cube_by == "tile"
    assert doeberitz.spatial_labels.n_clusters == doeberitz.temporal_labels.n_clusters == 5
    assert doeberitz.temporal_labels.every == "date"


@pytest.mark.real_data
def test_the_area_of_doeberitz_is_the_originals_byte_for_byte(doeberitz, real_data):
    original = real_data / "labels/doeberitzer_multipolygon.geojson"
    assert digest(doeberitz.areas.file) == digest(original)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("name", "polygons"), [("timberlea", 1), ("doeberitz", 2)])
def test_the_areas_come_with_the_package(name, polygons, tmp_path):
    campaign = load_campaign(name)
    assert len(read_labels(campaign, Layout(tmp_path, name)).frame) == polygons
    package = Path(str(files("geo_assets")))
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["geo_assets"]
    for path in (campaign.areas.file, campaign.areas.file.parent / "README.md"):
        assert path.is_file()
        inside = str(path.relative_to(package))
        assert any(fnmatch(inside, pattern) for pattern in patterns), inside
