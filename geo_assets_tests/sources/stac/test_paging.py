"""Searches of an API whose answers come in pages, some of them odd."""

from __future__ import annotations

import json
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from geo_assets.errors import SourceError
from geo_assets.sources.scenes.asset_files import HttpRules
from geo_assets.sources.stac.source import StacRules, StacSource
from geo_assets_tests.emulators.file_server import Answer, serve_files
from geo_assets_tests.sources.scene_testing import item_of, query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geo_assets_tests.emulators.file_server import FileServer

QUICK = HttpRules(attempts=1, timeout_s=5, wait_initial_s=0.001, wait_max_s=0.01)


def item(name: str) -> dict[str, Any]:
    return item_of({"B04": {"href": f"https://host/{name}.tif", "type": "image/tiff"}}, id=name)


def page(*features: object, following: object = None, **said: Any) -> dict[str, Any]:
    """One page of a search; ``following`` is the body of the next request."""
    link = {"rel": "next", "method": "POST", "href": "/search", "body": following}
    links = [] if following is None else [link]
    return {"type": "FeatureCollection", "features": list(features), "links": links, **said}


@contextmanager
def api(
    folder: Path, *pages: object, methods: tuple[str | None, ...] = ("POST",)
) -> Iterator[FileServer]:
    """An API that gives these pages one after the other, to whatever it is asked."""
    with serve_files(folder) as server:
        landing = {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "pages",
            "description": "tests",
            "conformsTo": [
                f"https://api.stacspec.org/v1.0.0/{name}" for name in ("core", "item-search")
            ],
            "links": [
                {
                    "rel": "search",
                    "href": f"{server.url}/search",
                    "type": "application/geo+json",
                    **({} if method is None else {"method": method}),
                }
                for method in methods
            ],
        }
        answers = [landing, *pages]
        server.faults = deque(Answer(200, json.dumps(answer).encode()) for answer in answers)
        yield server


def of(server: FileServer) -> StacSource:
    return StacSource(StacRules(server.url, kind="api", http=QUICK))


@pytest.mark.parametrize("said", [{"numberMatched": 3}, {"context": {"matched": 3}}, {}])
def test_all_pages_of_a_search_are_one_answer(tmp_path: Path, said: dict[str, Any]) -> None:
    pages = [page(item("a"), item("b"), following={"page": 2}, **said), page(item("c"), **said)]
    with api(tmp_path, *pages) as server:
        found = of(server).select(query())
    assert [scene["id"] for scene in found.items] == ["a", "b", "c"]


def test_more_items_than_the_server_said_are_all_used(tmp_path: Path) -> None:
    with api(tmp_path, page(item("a"), item("b"), numberMatched=1)) as server:
        assert len(of(server).select(query()).items) == 2


@pytest.mark.parametrize("said", [{"numberMatched": 4}, {"context": {"matched": 4}}])
@pytest.mark.parametrize("last", [page(), page(item("c")), page(item("a"), item("b"))])
def test_a_search_that_ends_before_what_the_server_said_is_refused(
    tmp_path: Path, last: dict[str, Any], said: dict[str, Any]
) -> None:
    pages = [page(item("a"), item("b"), following={"page": 2}, **said), {**last, **said}]
    words = r"http://.*search of everything ended early: [23] distinct items came, .* said 4"
    with api(tmp_path, *pages) as server, pytest.raises(SourceError, match=words):
        of(server).select(query())


@pytest.mark.parametrize("odd", [{"message": "Internal server error"}, {"features": None}, []])
@pytest.mark.parametrize(("said", "number"), [({"numberMatched": 4}, "4"), ({}, "an unknown")])
def test_an_answer_without_features_is_no_last_page(
    tmp_path: Path, odd: object, said: dict[str, Any], number: str
) -> None:
    pages = [page(item("a"), item("b"), following={"page": 2}, **said), odd]
    with api(tmp_path, *pages) as server, pytest.raises(SourceError) as raised:
        of(server).select(query())
    told = str(raised.value)
    assert told.startswith(f"{server.url}: the search of everything ended early: after 2 items of")
    assert f"of {number}" in told
    assert told.endswith(f"without features: {json.dumps(odd)}")


def test_a_next_link_that_was_followed_before_ends_the_search_by_name(tmp_path: Path) -> None:
    pages = [page(item(name), following={"page": 2}) for name in "abcd"]
    words = r"search of everything does not end, .* next link is .*/search', 'body': {'page': 2}"
    with api(tmp_path, *pages) as server:
        with pytest.raises(SourceError, match=words):
            of(server).select(query())
        assert server.requests == ["/", "/search", "/search"]


def test_a_server_that_counts_pages_and_gives_the_same_one_ends_the_search_by_name(
    tmp_path: Path,
) -> None:
    pages = [page(item("a"), following={"page": number}) for number in range(2, 6)]
    words = r"search of everything does not end, .* next link is .*/search', 'body': {'page': 3}"
    with api(tmp_path, *pages) as server, pytest.raises(SourceError, match=words):
        of(server).select(query())


@pytest.mark.parametrize("methods", [("GET",), (None,)])
def test_an_api_that_advertises_get_alone_is_searched_by_get(
    tmp_path: Path, methods: tuple[str | None, ...]
) -> None:
    link = {"rel": "next", "href": "/search?page=2"}
    pages = [{**page(item("a")), "links": [link]}, page(item("b"))]
    with api(tmp_path, *pages, methods=methods) as server:
        found = of(server).select(query())
        first, second = server.requests[1:]
    assert [scene["id"] for scene in found.items] == ["a", "b"]
    assert parse_qs(urlsplit(first).query)["datetime"] == [
        "2020-12-31T00:00:00Z/2022-01-01T23:59:59Z"
    ]
    assert second == "/search?page=2"


def test_an_api_that_refuses_post_is_searched_by_get(tmp_path: Path) -> None:
    with api(tmp_path, page(item("a")), methods=("GET", "POST")) as server:
        server.faults.insert(1, Answer(405, b"Method Not Allowed"))
        assert len(of(server).select(query()).items) == 1
        assert [request.partition("?")[0] for request in server.requests] == [
            "/",
            "/search",
            "/search",
        ]
        assert "bbox=" in server.requests[-1]


def without(name: str, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in item(name).items() if key not in keys}


@pytest.mark.parametrize(
    ("odd", "scene_id", "words"),
    [
        (without("b", "stac_version"), "b", "STACTypeError: "),
        ({**item("b"), "properties": None}, "b", "AttributeError: "),
        ({**item("b"), "properties": {"datetime": "soon"}}, "b", "ValueError: "),
        ({**item("b"), "properties": {}}, "b", "STACError: "),
        ({**item("b"), "assets": {"B04": {}}}, "b", "KeyError: 'href'"),
        ({**item("b"), "assets": {"B04": None}}, "b", "AttributeError: "),
        ({**item("b"), "links": [{"rel": "license"}]}, "b", "KeyError: 'href'"),
        ({**item("b"), "id": 17}, "17", "TypeError: "),
        (without("b", "id", "type"), "item 2 of the search", "STACTypeError: "),
        (None, "item 2 of the search", "TypeError: "),
    ],
)
def test_an_item_of_an_api_that_cannot_be_understood_costs_itself_alone(
    tmp_path: Path, odd: object, scene_id: str, words: str
) -> None:
    pages = [page(item("a"), odd, following={"page": 2}), page(item("c"), numberMatched=3)]
    with api(tmp_path, *pages) as server:
        found = of(server).select(query())
    assert [scene["id"] for scene in found.items] == ["a", "c"]
    (left,) = found.left_out
    assert (left.scene_id, left.reason) == (scene_id, "damaged")
    assert left.detail.startswith(f"its record cannot be read: {words}")
