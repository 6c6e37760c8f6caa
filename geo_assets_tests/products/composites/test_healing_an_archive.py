"""Composites and cubes of the simulated archive: damaged, repaired and healed, or never damaged."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import rasterio

from geo_assets.campaign import Grid
from geo_assets.core.areas import ClusterBox
from geo_assets.products.area_grid import grid_of_area
from geo_assets.products.composites.builder import CompositeBuilder, Labels
from geo_assets.products.cubes.builder import CubeBuilder, CubeRules
from geo_assets.sources.protocol import SceneQuery
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets.sources.simulated import ArchiveSpec, repair_archive, write_archive
from geo_assets.sources.stac.source import StacRules, StacSource

BANDS = ("B04", "B08", "B12")
CLOUDS = CloudRules(dilate_m=40)
NOBODY = geopandas.GeoDataFrame({"class": []}, geometry=[], crs="EPSG:4326")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("healing") / "archive"
    write_archive(folder, ArchiveSpec(seed=3, tile_size=240))
    return folder


@pytest.fixture(scope="module")
def sound(archive, tmp_path_factory):
    """The archive as it would be without damage."""
    folder = tmp_path_factory.mktemp("sound") / "archive"
    shutil.copytree(archive, folder)
    repair_archive(folder)
    return folder


@pytest.fixture(scope="module")
def damaged_item(archive):
    faults = json.loads((archive / "truth/faults.json").read_text())
    return next(fault["item"] for fault in faults if fault["kind"] == "damaged block")


def around_the_damage(archive, item_id):
    """The source, scenes of some weeks, and an area half on the damaged scene and half beside."""
    source = StacSource(StacRules(str(archive / "catalog.json"), kind="static"))
    with rasterio.open(archive / f"items/{item_id}/B04.tif") as file:
        west, south, east, north = file.bounds
        crs = str(file.crs)
    middle, third = (west + east) / 2, (north - south) / 3
    box = ClusterBox(0, crs, (west - 300, south + third, middle + 200, north + 100), 1)
    day = dt.date.fromisoformat("-".join((item_id[10:14], item_id[14:16], item_id[16:18])))
    query = SceneQuery(box, day - dt.timedelta(20), day + dt.timedelta(20), BANDS)
    items = source.select(query).items
    geobox = grid_of_area(source, box, items, BANDS, Grid())
    assert item_id in {item["id"] for item in items}
    assert {item["properties"]["proj:code"] for item in items} == {"EPSG:32632", "EPSG:32633"}
    return source, items, geobox


def composite(archive, item_id):
    source, items, geobox = around_the_damage(archive, item_id)
    rules = CompositeRules(BANDS, "median", None, CLOUDS, True, "max")
    return CompositeBuilder(source, items, geobox, rules, Labels(NOBODY, NOBODY), {})


def cube(archive, item_id):
    source, items, geobox = around_the_damage(archive, item_id)
    area = np.ones(geobox.shape.yx, bool)
    rules = CubeRules("B04", "B08", CLOUDS, 0.0, "mask", 10.0)
    return CubeBuilder(source, items, geobox, area, rules, {})


def files_of(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_what_is_healed_equals_what_was_never_damaged(archive, sound, damaged_item, tmp_path):
    whole, _ = composite(sound, damaged_item).build(tmp_path / "whole.tif", tmp_path / "whole.json")
    whole_cube, _ = cube(sound, damaged_item).build(tmp_path / "whole.zarr")

    image, sidecar, store = (tmp_path / name for name in ("c.tif", "c.json", "c.zarr"))
    broken, _ = composite(archive, damaged_item).build(image, sidecar)
    broken_cube, _ = cube(archive, damaged_item).build(store)
    assert {w.scene_id for w in broken.failed_windows} == {damaged_item}
    assert {w.scene_id for w in broken_cube.failed} == {damaged_item}
    assert {w.kind for w in broken.failed_windows} == {"invalid_payload"}
    assert str(archive) not in sidecar.read_text()
    assert whole.failed_windows == whole_cube.failed == ()
    assert broken.recipe == whole.recipe, "where the archive lies decides no pixel"
    failed = np.zeros(broken.shape, bool)
    for window in broken.failed_windows:
        failed[window.slices] = True
    with rasterio.open(image) as one, rasterio.open(tmp_path / "whole.tif") as other:
        np.testing.assert_array_equal(one.read()[:, ~failed], other.read()[:, ~failed])
        assert not one.dataset_mask()[failed].any()

    repaired = tmp_path / "archive"
    shutil.copytree(archive, repaired)
    assert repair_archive(repaired)
    assert composite(repaired, damaged_item).build(image, sidecar) == (whole, "healed")
    assert image.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert cube(repaired, damaged_item).build(store) == (whole_cube, "healed")
    assert files_of(store) == files_of(tmp_path / "whole.zarr")


def test_blocks_change_nothing_where_scenes_of_another_zone_are_warped(
    sound, damaged_item, tmp_path, monkeypatch
):
    builder = composite(sound, damaged_item)
    builder.build(tmp_path / "one.tif", tmp_path / "one.json")
    monkeypatch.setattr("geo_assets.products.composites.builder.BLOCK", 61)
    replace(builder).build(tmp_path / "two.tif", tmp_path / "two.json")
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()
