"""The STAC records, judged by pystac, rio-cogeo and rasterio."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pystac
import pytest
import rasterio
from pystac.validation import JsonSchemaSTACValidator
from rasterio.features import rasterize
from rasterio.warp import transform_geom
from rio_cogeo.cogeo import cog_validate

from geo_assets_tests.sources.simulated import reading

BANDS = [f"B{n:02d}" for n in range(1, 10)] + ["B8A", "B11", "B12"]


@pytest.fixture(scope="module")
def catalog(small):
    return pystac.Catalog.from_file(small / "catalog.json")


def test_pystac_walks_the_catalog_and_finds_every_item(catalog):
    found = list(catalog.get_items(recursive=True))
    tiles = Counter(item.properties["s2:mgrs_tile"] for item in found)
    assert tiles == {"32UQV": 31, "33UTQ": 30}
    assert {item.get_collection().id for item in found} == {"simulated-sentinel-2-l2a"}


def test_catalog_collection_and_items_are_valid_stac_core(catalog):
    validator = JsonSchemaSTACValidator()
    kinds = pystac.STACObjectType
    collection = next(catalog.get_collections())
    checked = [(catalog, kinds.CATALOG), (collection, kinds.COLLECTION)]
    checked += [(item, kinds.ITEM) for item in catalog.get_items(recursive=True)]
    for entry, kind in checked:
        validator.validate_core(entry.to_dict(), kind, "1.1.0")


def test_every_listed_file_but_the_lost_one_is_there(small):
    lost = [
        (item["id"], name)
        for item in reading.items(small)
        for name, asset in item["assets"].items()
        if not (small / "items" / item["id"] / asset["href"]).is_file()
    ]
    assert lost == [("S2A_32UQV_20210616_0_L2A", "B08")]


def test_one_item_does_not_list_b11(small):
    without = [i["id"] for i in reading.items(small) if {*BANDS, "SCL"} - set(i["assets"])]
    assert without == ["S2B_33UTQ_20210812_0_L2A"]


@pytest.mark.parametrize("tile", ["32UQV", "33UTQ"])
def test_files_are_cogs_on_the_grid_their_record_names(small, tile):
    item = reading.items(small, tile)[0]
    for name, asset in item["assets"].items():
        path = small / "items" / item["id"] / asset["href"]
        assert cog_validate(path, quiet=True)[0]
        with rasterio.open(path) as file:
            assert file.crs.to_string() == item["properties"]["proj:code"]
            assert list(file.shape) == asset["proj:shape"]
            assert list(file.transform)[:6] == asset["proj:transform"]
            assert file.res == (asset["gsd"], asset["gsd"])
            assert file.dtypes[0] == asset["raster:bands"][0]["data_type"]
            assert (file.nodata, name) == (asset["raster:bands"][0]["nodata"], name)
            assert set(file.block_shapes) == {(256, 256)}


def test_cloud_cover_is_the_share_of_cloudy_pixels(small):
    for item in reading.items(small):
        classes = reading.numbers(small, item, "SCL")
        share = np.isin(classes, (8, 9, 10)).sum() / (classes > 0).sum()
        assert item["properties"]["eo:cloud_cover"] == pytest.approx(100 * share, abs=0.006)


def test_data_lie_where_the_footprint_says(small):
    for item in reading.items(small):
        with rasterio.open(small / "items" / item["id"] / "SCL.tif") as file:
            seen = file.read(1) > 0
            outline = transform_geom("EPSG:4326", file.crs, item["geometry"])
            inside = rasterize([outline], file.shape, transform=file.transform) == 1
        assert (seen != inside).mean() < 0.005


def test_the_orbits_edge_covers_a_corner_of_the_tile(small):
    (item,) = reading.of_date(reading.items(small), "2021-06-16")
    share = (reading.numbers(small, item, "SCL") > 0).mean()
    assert 0.03 < share < 0.06
    assert item["properties"]["s2:nodata_pixel_percentage"] == pytest.approx(100 - 100 * share, 0.1)
