"""Catalogs that real runs left behind, as DuckDB, rustac, stac_geoparquet and pystac see them."""

from __future__ import annotations

import json

import duckdb
import geopandas
import pyarrow.parquet as pq
import pystac.validation
import pytest
import rustac
import shapely
import stac_geoparquet.arrow

from geo_assets.campaign_file import load_campaign
from geo_assets_tests.acceptance.support import (
    Reads,
    materialize,
    render,
    rows_of,
    watched_imagery,
)


@pytest.fixture(scope="module")
def all_failed(fields, tmp_path_factory):
    """The catalog of a partition whose source failed for every window."""
    place = fields.place.copy(tmp_path_factory.mktemp("all-failed"))
    # The composites are made anew, of few scenes: each is asked for every leaf of every window.
    path = render("fields", place.folder, chip_size=128, overlap=0)
    path.write_text(path.read_text().replace("end: 2021-08-31", "end: 2021-06-20"))
    campaign = load_campaign(str(path))
    materialize(
        campaign,
        place,
        ("scenes", "composite_image", "chip_grid", "chip_catalog"),
        keys=["south|train"],
        imagery=watched_imagery(Reads(), lambda _: True),
    )
    return place.layout(campaign).chip_catalog("south", "train")


# It asks for the long runs by name, which pytest does not see.
pytestmark = pytest.mark.xdist_group("long runs")
REAL = pytest.mark.real_data


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("empty", marks=REAL),
        "all failed",
        "mixed",
        pytest.param("all ok", marks=REAL),
    ],
)
def catalog(request):
    """A catalog, and the statuses that it holds."""
    match request.param:
        case "empty":
            request.getfixturevalue("real_data")
            made = request.getfixturevalue("aberystwyth")
            return made.place.layout(made.campaign).chip_catalog("0", "test"), set()
        case "all ok":
            request.getfixturevalue("real_data")
            made = request.getfixturevalue("aberystwyth")
            return made.place.layout(made.campaign).chip_catalog("0", "train"), {"ok"}
        case "all failed":
            return request.getfixturevalue("all_failed"), {"failed"}
        case _:
            place, campaign = request.getfixturevalue("demo").place, load_campaign("demo")
            key = next(
                key
                for key, rows in rows_of(place, campaign).items()
                if len({row.outcome.status for row in rows}) > 1
            )
            return place.layout(campaign).chip_catalog(*key.split("|")), {"ok", "failed"}


def assert_valid(items, path, statuses):
    rows = pq.read_table(path, partitioning=None).to_pylist()
    assert [item["id"] for item in items] == [row["chip_id"] for row in rows]
    assert {item["properties"]["status"] for item in items} == statuses
    for item, row in zip(items, rows, strict=True):
        # The schemas of extensions are on the network; the core's come with pystac.
        core = json.loads(json.dumps(item)) | {"stac_extensions": []}
        assert core["stac_version"] == "1.1.0"
        pystac.validation.validate_dict(core)
        assert ("image" in item["assets"]) == (row["status"] == "ok")


def test_stac_geoparquet_gives_items_that_pystac_validates(catalog):
    path, statuses = catalog
    table = pq.read_table(path, partitioning=None)
    assert_valid(list(stac_geoparquet.arrow.stac_table_to_items(table)), path, statuses)


def test_rustac_gives_items_that_pystac_validates(catalog):
    path, statuses = catalog
    assert_valid(rustac.read_sync(str(path)).get("features", []), path, statuses)


def test_duckdb_reads_rows_with_a_typed_geometry(catalog):
    path, statuses = catalog
    found = duckdb.connect().execute(
        'SELECT chip_id, status, geometry, bbox.xmin, "proj:code", assets.image.href '
        "FROM read_parquet(?) ORDER BY chip_id",
        [str(path)],
    )
    types = {name: str(kind) for name, kind, *_ in found.description}
    assert types["geometry"].startswith("GEOMETRY")
    assert types["xmin"] == "DOUBLE"
    rows = found.fetchall()
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert len(rows) == pq.read_metadata(path).num_rows
    assert {row[1] for row in rows} == statuses
    assert all((row[5] is not None) == (row[1] == "ok") for row in rows)


def test_footprints_are_wgs84_with_a_bbox_covering(catalog):
    path, _ = catalog
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0"
    assert set(column["covering"]["bbox"]) == {"xmin", "ymin", "xmax", "ymax"}
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    frame = geopandas.read_parquet(path)
    assert frame.crs == "EPSG:4326"
    boxes = pq.read_table(path, columns=["bbox"], partitioning=None)["bbox"].to_pylist()
    for footprint, box in zip(frame.geometry, boxes, strict=True):
        assert shapely.box(-180, -90, 180, 90).contains(footprint)
        assert tuple(box[side] for side in ("xmin", "ymin", "xmax", "ymax")) == footprint.bounds


def test_a_window_of_a_catalog_is_read_by_its_covering(catalog):
    path, statuses = catalog
    frame = geopandas.read_parquet(path)
    if not statuses:
        assert geopandas.read_parquet(path, bbox=(-180, -90, 180, 90)).empty
        return
    middle = frame.geometry.iloc[0].centroid
    found = geopandas.read_parquet(path, bbox=(middle.x, middle.y, middle.x, middle.y))
    assert set(found["chip_id"]) == set(frame[frame.intersects(middle)]["chip_id"])
