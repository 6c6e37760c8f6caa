from __future__ import annotations

import datetime as dt
import json
import pickle
import shutil
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from geo_assets.core.areas import ClusterBox
from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.protocol import SceneQuery
from geo_assets.sources.scenes.asset_files import HttpRules
from geo_assets.sources.stac.source import StacRules, StacSource
from geo_assets_tests.emulators.file_server import Answer, FileServer, serve_files
from geo_assets_tests.emulators.stac_api import free_port, serve_stac_api
from geo_assets_tests.sources.scene_testing import (
    GRID,
    box_around,
    item_of,
    noise,
    query,
    write_raster,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = HttpRules(attempts=2, timeout_s=5, wait_initial_s=0.001, wait_max_s=0.01)
RUFIJI = SceneQuery(
    ClusterBox(0, "EPSG:32737", (528500.4, 9132436.9, 531880.5, 9135237.0), 1),
    dt.date(2016, 1, 1),
    dt.date(2020, 12, 31),
    ("B04", "B08"),
)
SLOVENIA = SceneQuery(
    ClusterBox(0, "EPSG:32633", (465200, 5079300, 466100, 5080200), 1),
    dt.date(2015, 1, 1),
    dt.date(2015, 12, 31),
    ("B04",),
    80,
)


def source(location: object, **rules: Any) -> StacSource:
    return StacSource(StacRules(str(location), http=QUICK, **rules))


def write_catalog(folder: Path, ids: list[str]) -> Path:
    """A static catalog: one collection, one band, relative hrefs."""
    links = [{"rel": "root", "href": "./catalog.json"}]
    for name in ids:
        write_raster(folder / name / "B04.tif", noise(GRID, 1), GRID, nodata=0)
        item = item_of({"B04": {"href": "./B04.tif", "type": "image/tiff"}}, id=name)
        (folder / name / f"{name}.json").write_text(json.dumps(item))
        links.append({"rel": "item", "href": f"./{name}/{name}.json"})
    collection = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "tests",
        "description": "tests",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2021-01-01T00:00:00Z", None]]},
        },
        "links": links,
    }
    (folder / "collection.json").write_text(json.dumps(collection))
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "root",
        "description": "tests",
        "links": [
            {"rel": "root", "href": "./catalog.json"},
            {"rel": "child", "href": "./collection.json"},
        ],
    }
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return folder / "catalog.json"


@pytest.mark.real_data
@pytest.mark.parametrize("entry", ["catalog.json", "collection.json", ""])
def test_all_dates_of_rufiji_are_found_and_read_as_rasterio_reads_them(
    real_data: Path, entry: str
) -> None:
    rufiji = source(real_data / "s2_rufiji" / entry)
    selection = rufiji.select(RUFIJI)
    assert len(selection.items) == 21
    assert selection.left_out == []
    assert selection.items == sorted(
        selection.items, key=lambda item: (item["properties"]["datetime"], item["id"])
    )
    for item in selection.items:
        native = rufiji.native_geobox(item, "red")
        read = rufiji.read(item, ["B04", "nir"], native, scl_band="SCL")
        assert read.scl is None
        stack = []
        for band, pixels in zip(["B04", "B08"], read.data, strict=True):
            with rasterio.open(item["assets"][band]["href"]) as file:
                assert native.affine == file.transform
                stack.append(file.read(1))
            assert np.array_equal(pixels, stack[-1])
        assert np.array_equal(read.valid, (stack[0] != 0) & (stack[1] != 0))


@pytest.mark.real_data
def test_the_cloudy_dates_of_slovenia_are_left_out(real_data: Path) -> None:
    selection = source(real_data / "slovenia_eopatch/catalog.json").select(SLOVENIA)
    assert [item["id"][-8:] for item in selection.items] == ["20150711", "20150830", "20150909"]
    assert [(out.scene_id[-8:], out.reason) for out in selection.left_out] == [
        ("20150731", "cloud"),
        ("20150820", "cloud"),
    ]


@pytest.mark.real_data
def test_an_api_gives_the_scenes_and_pixels_that_the_static_catalog_gives(
    real_data: Path, tmp_path: Path
) -> None:
    static = source(real_data / "s2_rufiji")
    expected = static.select(RUFIJI)
    collection = json.loads((real_data / "s2_rufiji/collection.json").read_text())
    with serve_stac_api(expected.items, tmp_path, [collection]) as url:
        api = source(url, collections=("s2-rufiji",))
        found = api.select(RUFIJI)
        narrower = api.select(
            SceneQuery(
                RUFIJI.box, dt.date(2018, 1, 1), dt.date(2018, 12, 31), ("B04",), max_cloud=50
            )
        )
        with pytest.raises(SourceError, match=r"has no collection \['s2-other'\]"):
            source(url, collections=("s2-other",)).select(RUFIJI)
    without_links = [{**item, "links": []} for item in expected.items]
    assert [{**item, "links": []} for item in found.items] == without_links
    assert found.left_out == []
    assert len(narrower.items) + len(narrower.left_out) == 6
    assert {out.reason for out in narrower.left_out} == {"cloud"}
    for ours, theirs in zip(found.items, expected.items, strict=True):
        native = api.native_geobox(ours, "B08")
        assert native == static.native_geobox(theirs, "B08")
        one, other = (s.read(i, ["B08"], native) for s, i in ((api, ours), (static, theirs)))
        assert np.array_equal(one.data, other.data)
        assert np.array_equal(one.valid, other.valid)


@pytest.mark.real_data
def test_items_in_the_form_of_both_services_are_selected_through_an_api(
    real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "stac_json"
    earth_search = json.loads(
        (folder / "earth_search_v1_sentinel-2-c1-l2a_items.json").read_text()
    )["features"]
    planetary = json.loads(
        (folder / "planetary_computer_sentinel-2-l2a_two_items.json").read_text()
    )["features"]
    asked = SceneQuery(
        box_around(-105.1, 40.1), dt.date(2024, 1, 1), dt.date(2024, 12, 31), ("B04", "nir"), 60
    )
    with serve_stac_api([*earth_search, *planetary], tmp_path) as url:
        selection = source(url).select(asked)
    left = Counter(out.reason for out in selection.left_out)
    assert len(selection.items) + left.total() == 12
    assert left["cloud"] == 5
    assert {item["collection"] for item in selection.items} == {
        "sentinel-2-c1-l2a",
        "sentinel-2-l2a",
    }
    assert all(
        asset["href"].startswith("https://")
        for item in selection.items
        for asset in item["assets"].values()
        if asset.get("type", "").startswith("image/tiff")
    )


@pytest.mark.real_data
def test_a_scene_whose_offset_is_undecided_stops_the_selection(
    real_data: Path, tmp_path: Path
) -> None:
    item = json.loads(
        (real_data / "stac_json/earth_search_v0_S2A_28QCH_20200714_0_L2A.json").read_text()
    )
    item["stac_version"] = "1.0.0"
    item["links"] = []
    lon, lat = item["geometry"]["coordinates"][0][0][:2]
    asked = SceneQuery(
        box_around(lon, lat, 20_000, "EPSG:32628"),
        dt.date(2020, 7, 1),
        dt.date(2020, 7, 30),
        ("red",),
    )
    with serve_stac_api([item], tmp_path) as url:
        with pytest.raises(SourceError, match=r"S2A_28QCH.*imagery\.offsets"):
            source(url).select(asked)
        rule = {"sentinel-s2-l2a-cogs": 0}
        assert len(source(url, offsets=rule).select(asked).items) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "the file is missing"), ("{", "JSONDecodeError"), ('{"type": "Feature"}', "STAC")],
)
def test_an_unreadable_record_costs_itself_alone(
    tmp_path: Path, content: str | None, words: str
) -> None:
    catalog = write_catalog(tmp_path, ["a", "b", "c"])
    if content is None:
        shutil.rmtree(tmp_path / "b")
    else:
        (tmp_path / "b/b.json").write_text(content)
    selection = source(catalog).select(query())
    assert [item["id"] for item in selection.items] == ["a", "c"]
    ((out),) = selection.left_out
    assert (out.scene_id, out.reason) == ("b.json", "damaged")
    assert words in out.detail
    assert str(tmp_path) not in out.detail


@pytest.mark.parametrize("away", ["collection.json", "b/b.json"])
def test_a_catalog_of_which_a_part_is_away_is_not_taken_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    write_catalog(tmp_path, ["a", "b"])
    with serve_files(tmp_path) as server:
        usual, status = server.answer, 503

        def answer(target: str, byte_range: str | None) -> Answer:
            return Answer(status) if target.endswith(away) else usual(target, byte_range)

        monkeypatch.setattr(server, "answer", answer)
        with pytest.raises(SourceError, match=rf"{Path(away).name} cannot be read just now.*later"):
            source(f"{server.url}/catalog.json").select(query())
        # What the server knows to be gone costs itself alone.
        status = 404
        selection = source(f"{server.url}/catalog.json").select(query())
    assert [out.scene_id for out in selection.left_out] == [Path(away).name]


def test_a_server_that_refuses_connections_takes_no_part_of_a_catalog_away(tmp_path: Path) -> None:
    write_catalog(tmp_path, ["a", "b"])
    collection = next(tmp_path.rglob("collection.json"))
    whole = collection.read_text()

    def link_to(href: str) -> None:
        assert whole.count("./b/b.json") == 1
        collection.write_text(whole.replace("./b/b.json", href))

    link_to(f"http://127.0.0.1:{free_port()}/b.json")
    with pytest.raises(SourceError, match=r"b.json cannot be read just now.*try again later"):
        source(tmp_path / "catalog.json").select(query())
    # What nobody here can ever read costs itself alone.
    for href in ("s3://bucket/b.json", "http://127.0.0.1:port/b.json"):
        link_to(href)
        selection = source(tmp_path / "catalog.json").select(query())
        assert [out.scene_id for out in selection.left_out] == ["b.json"]
        assert [item["id"] for item in selection.items] == ["a"]


def test_scenes_elsewhere_are_left_out_by_name(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, ["a"])
    far = ClusterBox(0, "EPSG:32633", (700_000, 5_000_000, 700_100, 5_000_100), 1)
    selection = source(catalog).select(query(box=far))
    assert [(out.scene_id, out.reason) for out in selection.left_out] == [("a", "no_overlap")]


def test_a_scene_that_lacks_a_band_says_what_it_offers(tmp_path: Path) -> None:
    selection = source(write_catalog(tmp_path, ["a"])).select(query(("B04", "B99")))
    ((out),) = selection.left_out
    assert out.reason == "missing_band"
    assert out.detail == "scene a: has no band 'B99'; it offers B04"


def test_a_static_catalog_is_read_over_http_and_its_pixels_too(tmp_path: Path) -> None:
    write_catalog(tmp_path, ["a", "b"])
    with serve_files(tmp_path) as server:
        remote = source(f"{server.url}/catalog.json")
        items = remote.select(query()).items
        assert [item["assets"]["B04"]["href"] for item in items] == [
            f"{server.url}/{name}/B04.tif" for name in "ab"
        ]
        read = remote.read(items[0], ["B04"], GRID)
        assert np.array_equal(read.data, noise(GRID, 1))
        server.always = Answer(500)
        with pytest.raises(ReadError) as raised:
            remote.read(items[1], ["B04"], GRID)
    assert (raised.value.kind, raised.value.scene_id) == ("transient", "b")


def test_kept_scenes_serve_the_next_run_without_the_server(tmp_path: Path) -> None:
    write_catalog(tmp_path / "archive", ["a"])
    with serve_files(tmp_path / "archive") as server:
        keeping = source(f"{server.url}/catalog.json", keep_scenes=tmp_path / "kept")
        (item,) = keeping.select(query()).items
        first = keeping.read(item, ["B04"], GRID)
    again = source("unused", keep_scenes=tmp_path / "kept").read(item, ["B04"], GRID)
    assert np.array_equal(first.data, again.data)


@pytest.mark.parametrize(
    "name", ["s2:processing_baseline", "sentinel:processing_baseline", "ee:version"]
)
def test_kept_pixels_of_another_baseline_are_not_those_of_a_new_recipe(
    tmp_path: Path, name: str
) -> None:
    write_catalog(tmp_path / "archive", ["a"])
    with serve_files(tmp_path / "archive") as server:
        keeping = source(f"{server.url}/catalog.json", keep_scenes=tmp_path / "kept")
        (item,) = keeping.select(query()).items
        for baseline, seed in (("03.00", 1), ("05.00", 2)):
            write_raster(tmp_path / "archive/a/B04.tif", noise(GRID, seed), GRID, nodata=0)
            item["properties"][name] = baseline
            assert np.array_equal(keeping.read(item, ["B04"], GRID).data, noise(GRID, seed))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "there is no STAC catalog"),
        ("notes.txt", "no readable STAC catalog"),
        ("a/a.json", "is a STAC Item"),
        ("http://127.0.0.1:9", "no STAC is found there"),
    ],
)
def test_what_is_no_catalog_is_refused_by_name(tmp_path: Path, place: str, words: str) -> None:
    write_catalog(tmp_path, ["a"])
    (tmp_path / "notes.txt").write_text("notes")
    location = place if place.startswith("http") else tmp_path / place
    with pytest.raises(SourceError, match=words) as raised:
        source(location).select(query())
    assert str(location) in str(raised.value)


def test_a_collection_that_a_static_catalog_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no collection \['other'\]; it has \['tests'\]"):
        source(write_catalog(tmp_path, ["a"]), collections=("other",)).select(query())


@contextmanager
def small_api(folder: Path) -> Iterator[FileServer]:
    """An API of files, with one collection ``tests`` that has one item."""
    with serve_files(folder) as server:
        search = {"href": f"{server.url}/search", "method": "POST", "type": "application/geo+json"}
        links = [
            {"rel": "search", **search},
            {"rel": "data", "href": f"{server.url}/collections"},
        ]
        landing = {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "small",
            "description": "tests",
            "conformsTo": [
                f"https://api.stacspec.org/v1.0.0/{name}"
                for name in ("core", "collections", "item-search")
            ],
            "links": links,
        }
        write_catalog(folder, [])
        (folder / "collections").mkdir()
        (folder / "collection.json").rename(folder / "collections/tests")
        (folder / "landing.json").write_text(json.dumps(landing))
        item = item_of({"B04": {"href": f"{server.url}/B04.tif", "type": "image/tiff"}})
        found = {"type": "FeatureCollection", "features": [item], "links": []}
        (folder / "search").write_text(json.dumps(found))
        yield server


def test_a_misspelt_collection_is_refused_although_another_has_scenes(tmp_path: Path) -> None:
    with small_api(tmp_path) as server:
        landing = f"{server.url}/landing.json"
        assert len(source(landing, collections=("tests",)).select(query()).items) == 1
        with pytest.raises(SourceError, match=r"has no collection \['test'\]"):
            source(landing, collections=("tests", "test")).select(query())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_search_is_repeated_when_the_server_is_busy(tmp_path: Path, status: int) -> None:
    busy = Answer(status, b"busy", (("Retry-After", "3600"),))
    with small_api(tmp_path) as server:
        landing = Answer(200, (tmp_path / "landing.json").read_bytes())
        server.faults.extend([busy, landing, busy])
        api = source(f"{server.url}/landing.json", kind="api")
        assert len(api.select(query()).items) == 1
        assert server.requests == ["/landing.json"] * 2 + ["/search"] * 2
        server.faults.extend([landing, busy, busy])
        with pytest.raises(SourceError, match="search of everything failed: busy"):
            api.select(query())


def test_a_range_of_time_counts_from_its_beginning(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, ["a"])
    record = json.loads((tmp_path / "a/a.json").read_text())
    record["properties"] = {
        "datetime": None,
        "start_datetime": "2021-06-01T00:00:00Z",
        "end_datetime": "2021-06-30T00:00:00Z",
    }
    (tmp_path / "a/a.json").write_text(json.dumps(record))
    (item,) = source(catalog).select(query()).items
    assert item["properties"]["datetime"] == "2021-06-01T00:00:00Z"


def test_the_description_holds_what_decides_pixels_and_no_place(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, ["a"])
    rules: dict[str, Any] = {"collections": ("tests",), "identity": {"archive": "abc"}}
    described = source(catalog, keep_scenes=tmp_path / "kept", **rules).describe()
    assert described == source("http://host/stac", **rules).describe()
    assert described["archive"] == "abc"
    assert described != source(catalog, offsets={"tests": 0}, **rules).describe()


def test_a_source_that_is_sent_with_each_of_many_tasks_is_opened_once(tmp_path):
    """So that what a worker remembers of a server that is down holds for all tasks of a run."""
    source, of_another_run = (StacSource(StacRules(str(tmp_path))) for _ in range(2))
    first, second = (pickle.loads(pickle.dumps(source)) for _ in range(2))  # noqa: S301
    assert first is second is pickle.loads(pickle.dumps(first))  # noqa: S301
    assert first is not source
    assert first.rules == source.rules
    assert pickle.loads(pickle.dumps(of_another_run)) is not first  # noqa: S301
