"""A source sent to another process reads there what it reads here."""

from __future__ import annotations

import datetime as dt
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from geo_assets.core.areas import ClusterBox
from geo_assets.sources.local_raster import LocalRasterSource, RasterRules
from geo_assets.sources.protocol import SceneQuery
from geo_assets.sources.scenes.asset_files import HttpRules
from geo_assets.sources.stac.source import StacRules, StacSource
from geo_assets_tests.emulators.file_server import serve_files
from geo_assets_tests.small_world import write_world

BANDS = ("B04", "B08")


@pytest.fixture(scope="module")
def elsewhere():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def read(source, item, bands, geobox, scl_band):
    seen = source.read(item, bands, geobox, scl_band=scl_band)
    return seen.data, seen.valid, seen.scl


def assert_reads_alike(elsewhere, source, item, geobox, scl_band=None):
    here = read(source, item, BANDS, geobox, scl_band)
    there = elsewhere.submit(read, source, item, BANDS, geobox, scl_band).result(120)
    assert here[1].any()
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def query_of(archive):
    """What finds scenes around the middle of the first one."""
    source = StacSource(StacRules(str(archive / "catalog.json"), kind="static"))
    (first, *_), _ = source._search.find(
        SceneQuery(
            ClusterBox(0, "EPSG:4326", (0, 0, 1, 1), 1),
            *(dt.date(2015, 1, 1), dt.date(2030, 1, 1)),
            BANDS,
            100,
        )
    )
    west, south, east, north = first["bbox"]
    middle = ((west + east) / 2, (south + north) / 2)
    box = ClusterBox(0, "EPSG:4326", (*middle, middle[0] + 0.01, middle[1] + 0.01), 1)
    return SceneQuery(box, dt.date(2015, 1, 1), dt.date(2030, 1, 1), BANDS, 100)


def window(source, item):
    grid = source.native_geobox(item, "B04")
    rows, cols = grid.shape
    return grid[rows // 3 : rows // 3 + 40, cols // 3 : cols // 3 + 50]


def test_the_simulated_archive(elsewhere, archive):
    source = StacSource(
        StacRules(str(archive / "catalog.json"), kind="static", identity={"simulated": "7"})
    )
    query = query_of(archive)
    item = source.select(query).items[0]
    assert_reads_alike(elsewhere, source, item, window(source, item), "SCL")
    there = elsewhere.submit(source.select, query).result(120)
    assert there.items == source.select(query).items
    assert elsewhere.submit(source.describe).result(120) == source.describe()


def test_a_single_raster(elsewhere, tmp_path):
    write_world(tmp_path)
    source = LocalRasterSource(RasterRules(tmp_path / "image.tif", dt.date(2021, 6, 1)))
    assert_reads_alike(elsewhere, source, source.item, source.native_geobox(source.item, "B04"))
    assert elsewhere.submit(source.describe).result(120) == source.describe()


def test_a_remote_catalog_whose_scenes_are_kept(elsewhere, archive, tmp_path):
    with serve_files(archive) as server:
        source = StacSource(
            StacRules(
                f"{server.url}/catalog.json",
                kind="static",
                keep_scenes=tmp_path / "kept",
                http=HttpRules(attempts=2),
            )
        )
        item = source.select(query_of(archive)).items[0]
        grid = window(source, item)
        there = elsewhere.submit(read, source, item, BANDS, grid, "SCL").result(120)
    here = read(source, item, BANDS, grid, "SCL")  # from the files that were kept there
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_sent_does_not_grow_with_the_catalog(archive):
    source = StacSource(StacRules(str(archive / "catalog.json"), kind="static"))
    fresh = pickle.dumps(source)
    source.select(query_of(archive))
    assert pickle.dumps(source) == fresh
    assert len(fresh) < 2000


def test_no_credential_is_sent(monkeypatch):
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "canary-7361")
    source = StacSource(StacRules("https://example.com", signing="planetary-computer"))
    assert b"canary" not in pickle.dumps(source)
    assert pickle.loads(pickle.dumps(source)).rules == source.rules  # noqa: S301  # our own bytes
