"""Scenes come back as they were given, and other tools read their table."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import duckdb
import geopandas as gpd
import pyarrow.parquet as pq
import pytest
import rustac
import stac_geoparquet.arrow

from geo_assets.errors import StorageError
from geo_assets.storage.scenes import read_scenes, write_scenes


def item(number: int, folder: Path = Path("/archive")) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": f"scene-{number}",
        "collection": "s2",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]],
        },
        "bbox": [0, 0, 1, 1],
        "properties": {
            "datetime": f"2024-06-{number + 1:02d}T10:00:00Z",
            "eo:cloud_cover": 12.5,
            "proj:code": "EPSG:32636",
            "proj:transform": [10.0, 0.0, 500000.0, 0.0, -10.0, 1000000.0],
            "s2:processing_baseline": "05.00",
        },
        "links": [{"rel": "self", "href": f"https://stac.example/items/{number}"}],
        "assets": {
            band: {
                "href": f"{folder}/scene-{number}/{band}.tif",
                "eo:bands": [{"name": band, "common_name": name}],
                "raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}],
            }
            for band, name in (("B04", "red"), ("B08", "nir"))
        },
    }


def mixed() -> list[dict[str, Any]]:
    """Items as archives give them: a band lacks, a value is null, a type differs."""
    items = [item(number) for number in range(4)]
    del items[1]["assets"]["B08"]
    items[2]["properties"]["eo:cloud_cover"] = None
    items[2]["assets"]["SCL"] = {"href": "https://host.example/SCL.tif", "roles": ["data"]}
    items[3]["properties"]["gsd"] = 10
    return items


def unlike() -> list[dict[str, Any]]:
    """Items of two collections that mean different types by one name."""
    items = [item(0), item(1)]
    items[1]["properties"]["s2:processing_baseline"] = 5.0
    items[1]["properties"]["eo:cloud_cover"] = {"value": 3}
    return items


CASES = {"empty": [], "one": [item(0)], "mixed": mixed(), "unlike": unlike()}


@pytest.mark.parametrize("case", CASES)
def test_items_clusters_and_reasons_come_back(tmp_path: Path, case: str) -> None:
    items = CASES[case]
    given = copy.deepcopy(items)
    left_out = [{"id": "x", "reason": "cloud", "cluster": 1}]
    write_scenes(tmp_path / "a.parquet", items, list(range(len(items))), left_out)
    table = read_scenes(tmp_path / "a.parquet")
    assert table.items == items == given
    assert table.clusters == list(range(len(items)))
    assert table.left_out == left_out


@pytest.mark.parametrize("case", CASES)
def test_other_tools_read_the_table(tmp_path: Path, case: str) -> None:
    items = CASES[case]
    path = tmp_path / "a.parquet"
    write_scenes(path, items, [7] * len(items))
    ids = [one["id"] for one in items]
    query = "select id from read_parquet(?) where cluster = 7"
    assert duckdb.sql(query, params=[str(path)]).fetchall() == [(own,) for own in ids]
    back = list(stac_geoparquet.arrow.stac_table_to_items(pq.read_table(path)))
    assert [one["id"] for one in back] == ids
    frame = gpd.read_parquet(path)
    assert frame.crs.to_epsg() == 4326
    assert frame.geometry.bounds["maxx"].tolist() == [1.0] * len(items)
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert "bbox" in geo["columns"]["geometry"]["covering"]


def test_rustac_reads_the_table(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_scenes(path, [item(0), item(1)], [0, 1])

    async def features() -> list[str]:
        return [feature["id"] for feature in (await rustac.read(str(path)))["features"]]

    assert asyncio.run(features()) == ["scene-0", "scene-1"]


def test_one_scene_may_serve_several_clusters(tmp_path: Path) -> None:
    write_scenes(tmp_path / "a.parquet", [item(0), item(1), item(0)], [0, 0, 1])
    table = read_scenes(tmp_path / "a.parquet")
    assert [one["id"] for one in table.of_cluster(0)] == ["scene-0", "scene-1"]
    assert table.of_cluster(1) == [item(0)]
    assert table.of_cluster(2) == []


def test_two_folders_of_results_hold_the_same_bytes_and_no_absolute_path(tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        path = folder / "scenes" / "north" / "train.parquet"
        local = item(0, folder / "archive")
        local["assets"]["B08"]["href"] = f"file://{folder}/archive/with%20space.tif"
        write_scenes(path, [local], [0], [{"id": "y", "reason": "no overlap"}])
        written.append(path.read_bytes())
        hrefs = {key: asset["href"] for key, asset in read_scenes(path).items[0]["assets"].items()}
        assert hrefs == {
            "B04": f"{folder}/archive/scene-0/B04.tif",
            "B08": f"{folder}/archive/with space.tif",
        }
        text = pq.read_table(path, columns=["item"])["item"][0].as_py()
        assert json.loads(text)["assets"]["B04"]["href"] == "../../archive/scene-0/B04.tif"
    assert written[0] == written[1]
    assert str(tmp_path).encode() not in written[0]


def test_a_relative_asset_href_is_refused(tmp_path: Path) -> None:
    relative = item(0)
    relative["assets"]["B04"]["href"] = "./B04.tif"
    with pytest.raises(
        StorageError, match=r"scene-0: asset B04 has the relative href './B04\.tif'"
    ):
        write_scenes(tmp_path / "a.parquet", [relative], [0])


def test_as_many_clusters_as_items_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="1 items want as many clusters, not 2"):
        write_scenes(tmp_path / "a.parquet", [item(0)], [0, 1])


def test_an_absent_or_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(StorageError, match="materialize demo/scenes first"):
        read_scenes(path, asset="demo/scenes")
    path.write_bytes(b"PAR1")
    with pytest.raises(StorageError, match="no readable table of scenes"):
        read_scenes(path)


@pytest.mark.real_data
def test_items_of_real_archives_come_back(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "stac_json"
    items = [
        feature
        for name in (
            "planetary_computer_sentinel-2-l2a_13items_35MNM.json",
            "earth_search_v1_sentinel-2-c1-l2a_items.json",
        )
        for feature in json.loads((folder / name).read_text())["features"]
    ]
    items.append(json.loads((folder / "earth_search_v0_S2A_28QCH_20200714_0_L2A.json").read_text()))
    write_scenes(tmp_path / "a.parquet", items, [0] * len(items))
    assert read_scenes(tmp_path / "a.parquet").items == items
    query = "select count(*) from read_parquet(?)"
    assert duckdb.sql(query, params=[f"{tmp_path}/a.parquet"]).fetchall() == [(len(items),)]
