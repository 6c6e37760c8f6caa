"""The chip catalog is valid stac-geoparquet whatever it holds, in the eyes of its readers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

import duckdb
import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pystac.validation
import pytest
import rustac
import shapely
import stac_geoparquet.arrow
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.warp import transform_bounds

from geo_assets.core.chips import ChipOutcome
from geo_assets.errors import StorageError
from geo_assets.storage.chips.catalog import SCHEMA, open_catalog, read_rows, write_catalog
from geo_assets.storage.chips.catalog_table import CatalogRow
from geo_assets_tests.storage.chips.chip_testing import COLLECTION, NOON, a_spec


def an_ok_row(number, **fields):
    spec = a_spec(number, **fields)
    outcome = ChipOutcome(
        status="ok",
        attempts=1,
        updated=NOON,
        size=1234 + number,
        checksum=f"1220{number:064x}",
        valid_fraction=0.75,
        label_fraction=0.5,
    )
    return CatalogRow(spec, outcome, f"../../chips/north/train/{spec.chip_id}.tif")


def a_failed_row(number):
    outcome = ChipOutcome(
        status="failed", attempts=3, updated=NOON, error_kind="transient", error="reset"
    )
    return CatalogRow(a_spec(number, scene_ids=()), outcome, None)


def a_row_without_imagery(number):
    outcome = ChipOutcome(
        status="no_imagery", attempts=1, updated=NOON, valid_fraction=0.0, error="no scene"
    )
    return CatalogRow(a_spec(number, scene_ids=()), outcome, None)


CATALOGS = {
    "empty": [],
    "all failed": [a_failed_row(0), a_failed_row(1)],
    "all ok": [an_ok_row(0), an_ok_row(1)],
    "mixed": [a_failed_row(2), an_ok_row(0), a_row_without_imagery(1), an_ok_row(3)],
}


@pytest.fixture(params=CATALOGS)
def rows(request):
    return CATALOGS[request.param]


@pytest.fixture
def path(tmp_path, rows):
    path = tmp_path / "chip_catalog" / "north" / "train.parquet"
    write_catalog(path, rows, COLLECTION)
    return path


def by_id(rows):
    return sorted(rows, key=lambda row: row.spec.chip_id)


def assert_items_are_valid(items, rows):
    assert [item["id"] for item in items] == [row.spec.chip_id for row in by_id(rows)]
    for item, row in zip(items, by_id(rows), strict=True):
        # Extensions' schemas are on the network; the core's come with pystac.
        core = json.loads(json.dumps(item)) | {"stac_extensions": []}
        pystac.validation.validate_dict(core)
        assert item["stac_version"] == "1.1.0"
        image = item["assets"].get("image")
        assert (None if image is None else image["href"]) == row.href
        assert item["properties"]["status"] == row.outcome.status


def test_rows_come_back_as_they_were_written_by_chip_id(path, rows):
    assert read_rows(path) == by_id(rows)


def test_stac_geoparquet_gives_valid_items(path, rows):
    table = pq.read_table(path, partitioning=None)
    assert_items_are_valid(list(stac_geoparquet.arrow.stac_table_to_items(table)), rows)


def test_rustac_gives_valid_items(path, rows):
    collection = rustac.read_sync(str(path))
    assert_items_are_valid(collection.get("features", []), rows)


def test_duckdb_reads_every_column_with_its_type(path, rows):
    query = duckdb.connect().execute(
        'SELECT chip_id, status, "file:size", assets.image.href, bbox.xmin, updated '  # noqa: S608 - a path of our own
        f"FROM read_parquet('{path}') ORDER BY chip_id"
    )
    types = [str(column[1]) for column in query.description]
    assert types[2] == "BIGINT"
    assert types[4] == "DOUBLE"
    assert types[5] == "TIMESTAMP WITH TIME ZONE"
    got = query.fetchall()
    assert [row[:4] for row in got] == [
        (r.spec.chip_id, r.outcome.status, r.outcome.size, r.href) for r in by_id(rows)
    ]


def test_a_frame_has_wgs84_footprints_that_fit_the_grids(path, rows):
    frame = open_catalog(path)
    assert frame.crs == "EPSG:4326"
    assert list(frame["chip_id"]) == [row.spec.chip_id for row in by_id(rows)]
    for footprint, row in zip(frame.geometry, by_id(rows), strict=True):
        wanted = transform_bounds("EPSG:32633", "EPSG:4326", *row.spec.geobox.boundingbox)
        np.testing.assert_allclose(footprint.bounds, wanted, atol=2e-6)
        assert footprint.exterior.is_ccw


def test_the_file_is_geoparquet_with_a_bbox_covering(path, rows):
    metadata = pq.read_metadata(path).metadata
    geo = json.loads(metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert geo["columns"]["geometry"]["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    collections = json.loads(metadata[b"stac-geoparquet"])["collections"]
    pystac.validation.validate_dict(collections[COLLECTION.id])
    table = pq.read_table(path, partitioning=None)
    assert table.schema.equals(SCHEMA)
    for box, geometry in zip(table["bbox"].to_pylist(), table["geometry"].to_pylist(), strict=True):
        assert tuple(box.values()) == shapely.from_wkb(geometry).bounds
    assert len(table) == len(rows)


def test_a_window_is_read_by_its_bounding_box(tmp_path):
    path = tmp_path / "train.parquet"
    write_catalog(path, [an_ok_row(number) for number in range(50)], COLLECTION)
    wanted = open_catalog(path).geometry.iloc[7].centroid
    found = geopandas.read_parquet(path, bbox=(wanted.x, wanted.y, wanted.x, wanted.y))
    assert list(found["chip_id"]) == [a_spec(7).chip_id]


def test_equal_rows_give_equal_bytes_in_any_order(tmp_path):
    rows = CATALOGS["mixed"]
    paths = [tmp_path / "first" / "train.parquet", tmp_path / "second" / "train.parquet"]
    write_catalog(paths[0], rows, COLLECTION)
    write_catalog(paths[1], rows[::-1], COLLECTION)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_checksums_are_multihashes_in_the_row_and_in_the_asset(tmp_path):
    path = tmp_path / "train.parquet"
    write_catalog(path, [an_ok_row(3)], COLLECTION)
    [item] = pq.read_table(path).to_pylist()
    assert item["file:checksum"] == f"1220{3:064x}"
    assert item["assets"]["image"]["file:checksum"] == item["file:checksum"]
    assert item["assets"]["image"]["file:size"] == item["file:size"] == 1237
    assert item["assets"]["image"]["roles"] == ["data"]


def test_a_grid_without_an_epsg_code_comes_back(tmp_path):
    path = tmp_path / "train.parquet"
    sinusoidal = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
    geobox = GeoBox((8, 9), Affine(463.3, 0, 1e6, 0, -463.3, 5e6), sinusoidal)
    row = an_ok_row(0, geobox=geobox)
    write_catalog(path, [row], COLLECTION)
    assert read_rows(path) == [row]


def test_a_chip_across_the_antimeridian_is_refused_by_name(tmp_path):
    geobox = GeoBox((256, 256), Affine(10, 0, 829_000, 0, -10, 1_000_000), "EPSG:32660")
    with pytest.raises(StorageError, match=r"north-train-r0-c00000: .* antimeridian"):
        write_catalog(tmp_path / "x.parquet", [an_ok_row(0, geobox=geobox)], COLLECTION)
    assert list(tmp_path.iterdir()) == []


def test_times_are_kept_to_the_microsecond(tmp_path):
    path = tmp_path / "train.parquet"
    moment = dt.datetime(2025, 2, 3, 4, 5, 6, 789, tzinfo=dt.UTC)
    row = an_ok_row(0)
    row = dataclasses.replace(row, outcome=dataclasses.replace(row.outcome, updated=moment))
    write_catalog(path, [row], COLLECTION)
    assert read_rows(path)[0].outcome.updated == moment


def test_a_file_that_is_no_catalog_is_named(tmp_path):
    path = tmp_path / "train.parquet"
    path.write_bytes(b"PAR1 no")
    for read in (read_rows, open_catalog):
        with pytest.raises(StorageError, match=r"train\.parquet: no readable"):
            read(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(StorageError, match="'chip_id'"):
        read_rows(path)
