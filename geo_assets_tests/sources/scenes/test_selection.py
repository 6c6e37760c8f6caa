from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.core.areas import ClusterBox
from geo_assets.sources.protocol import LeftOut
from geo_assets.sources.scenes.selection import choose_scenes
from geo_assets_tests.sources.scene_testing import item_of, query

BANDS = {"B04": {"href": "/B04.tif", "eo:bands": [{"name": "B04"}]}}


def scene(name: str, **properties: Any) -> dict[str, Any]:
    return item_of(BANDS, id=name, **properties)


@pytest.mark.parametrize(
    ("item", "asked", "reason", "words"),
    [
        (scene("x", **{"eo:cloud_cover": 80.5}), {"max_cloud": 80}, "cloud", "80.5 % > 80 %"),
        (scene("x"), {"bands": ("B04", "B99")}, "missing_band", "'B99'; it offers B04"),
        (scene("x"), {"start": "2021-06-02"}, "outside_dates", "2021-06-01"),
        (scene("x"), {"end": "2021-05-31"}, "outside_dates", "2021-06-01"),
        (scene("x", datetime="soon"), {}, "damaged", "no usable id, date"),
        ({**scene("x"), "geometry": None}, {}, "damaged", "geometry"),
        ({**scene("x"), "assets": None}, {}, "damaged", "no attribute 'items'"),
        ({k: v for k, v in scene("x").items() if k != "assets"}, {}, "damaged", "'assets'"),
        (scene("x", **{"eo:cloud_cover": "n/a"}), {}, "damaged", "eo:cloud_cover: ValueError"),
        (scene("x", **{"eo:cloud_cover": [1]}), {}, "damaged", "eo:cloud_cover: TypeError"),
        (
            scene("x"),
            {"box": ClusterBox(0, "EPSG:32633", (600_000, 5_399_000, 600_100, 5_399_100), 1)},
            "no_overlap",
            "does not meet",
        ),
    ],
)
def test_a_scene_is_left_out_with_its_reason(
    item: dict[str, Any], asked: dict[str, Any], reason: str, words: str
) -> None:
    selection = choose_scenes([item], query(**asked))
    assert selection.items == []
    (left,) = selection.left_out
    assert (left.scene_id, left.reason) == ("x", reason)
    assert words in left.detail


def test_a_scene_with_an_ambiguous_classification_is_left_out_and_one_without_is_kept() -> None:
    asked = replace(query(), scl_band="SCL")
    assert len(choose_scenes([scene("x")], asked).items) == 1
    several = {
        key: {"href": "/x.tif", "bands": [{"name": "SCL"}]} for key in ("SCL_20m", "SCL_60m")
    }
    selection = choose_scenes([item_of(BANDS | several, id="x")], asked)
    assert selection.items == []
    (left,) = selection.left_out
    assert left.reason == "missing_band"
    assert "'SCL' is ambiguous; it could be SCL_20m (band 1), SCL_60m" in left.detail


def test_a_scene_that_states_no_clouds_is_kept() -> None:
    assert len(choose_scenes([scene("x")], query(max_cloud=0)).items) == 1


def test_the_first_and_the_last_day_are_included() -> None:
    asked = query(start="2021-06-01", end="2021-06-01")
    assert len(choose_scenes([scene("x")], asked).items) == 1


def test_a_scene_that_shares_only_an_edge_with_the_area_does_not_overlap() -> None:
    # A box in degrees, so that both outlines are straight in the same coordinates.
    ring = [[10, 0], [11, 0], [11, 1], [10, 1], [10, 0]]
    item = {**scene("x"), "geometry": {"type": "Polygon", "coordinates": [ring]}}
    beside = ClusterBox(0, "EPSG:4326", (11, 0, 12, 1), 1)
    across = ClusterBox(0, "EPSG:4326", (10.99, 0, 12, 1), 1)
    assert choose_scenes([item], query(box=beside)).left_out[0].reason == "no_overlap"
    assert len(choose_scenes([item], query(box=across)).items) == 1


def test_a_footprint_that_crosses_itself_is_mended() -> None:
    ring = [[14.99, 48.7], [15.1, 48.8], [15.1, 48.7], [14.99, 48.8], [14.99, 48.7]]
    item = {**scene("x"), "geometry": {"type": "Polygon", "coordinates": [ring]}}
    assert len(choose_scenes([item], query()).items) == 1


def test_an_item_found_twice_is_used_once_and_said_so() -> None:
    selection = choose_scenes([scene("x"), scene("x"), scene("x", collection="other")], query())
    assert [item["collection"] for item in selection.items] == ["other", "tests"]
    assert [left.reason for left in selection.left_out] == ["duplicate"]


@pytest.mark.parametrize("older", ["02.13", None])
@pytest.mark.parametrize("newer_first", [True, False])
def test_of_an_id_found_with_two_baselines_the_higher_is_used(
    older: str | None, newer_first: bool
) -> None:
    old = scene("x", **{} if older is None else {"s2:processing_baseline": older})
    # A reprocessed scene may state another time, too.
    new = scene("x", **{"s2:processing_baseline": "05.00", "datetime": "2021-06-01T10:00:02Z"})
    selection = choose_scenes([new, old] if newer_first else [old, new], query())
    assert selection.items == [new]
    (left,) = selection.left_out
    assert (left.scene_id, left.reason) == ("x", "duplicate")
    assert "found more than once in tests; used is baseline 05.00, not " in left.detail


def test_the_order_of_a_search_does_not_decide_between_copies_of_one_baseline() -> None:
    copies = [scene("x", created=f"2021-06-0{day}T00:00:00Z") for day in (2, 3)]
    first, second = (choose_scenes(found, query()) for found in (copies, copies[::-1]))
    assert first == second


ACQUISITION = {
    "datetime": "2021-06-01T10:00:00.024Z",
    "platform": "Sentinel-2A",
    "s2:mgrs_tile": "33UVP",
    "s2:processing_baseline": "03.01",
}


@pytest.mark.parametrize("later_first", [True, False])
def test_of_an_acquisition_processed_twice_the_higher_baseline_is_used(later_first: bool) -> None:
    old = scene("x_20210602", **ACQUISITION)
    new = scene("x_20230205", **ACQUISITION | {"s2:processing_baseline": "05.00"})
    selection = choose_scenes([new, old] if later_first else [old, new], query())
    assert selection.items == [new]
    (left,) = selection.left_out
    assert (left.scene_id, left.reason) == ("x_20210602", "superseded")
    assert left.detail == (
        "baseline 03.01; x_20230205 is used, baseline 05.00 of the same acquisition"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"platform": "Sentinel-2B"},
        {"datetime": "2021-06-01T10:00:10.024Z"},
        {"s2:mgrs_tile": "33UWP"},
        {"s2:mgrs_tile": None},
        {"platform": None},
        {"s2:processing_baseline": "03.01"},
        {"s2:processing_baseline": None},
        {"collection": "other"},
    ],
)
def test_scenes_that_are_no_processings_of_one_acquisition_are_all_used(
    other: dict[str, Any],
) -> None:
    new = scene("b", **ACQUISITION | {"s2:processing_baseline": "05.00"} | other)
    assert len(choose_scenes([scene("a", **ACQUISITION), new], query()).items) == 2


def test_parts_of_a_tile_with_one_time_and_two_baselines_are_both_used() -> None:
    part = scene("b", **ACQUISITION | {"s2:processing_baseline": "05.00"})
    west, south, east, north = part["bbox"]
    middle = west + 0.4 * (east - west)
    ring = [[west, south], [middle, south], [middle, north], [west, north], [west, south]]
    part["geometry"] = {"type": "Polygon", "coordinates": [ring]}
    assert len(choose_scenes([scene("a", **ACQUISITION), part], query()).items) == 2


@given(st.permutations([("b", 1), ("a", 1), ("c", 2), ("d", 1)]))
def test_the_order_depends_on_date_and_id_alone(order: list[tuple[str, int]]) -> None:
    found = [scene(name, datetime=f"2021-06-0{day}T10:00:00Z") for name, day in order]
    damaged = [LeftOut("z.json", "damaged", "?"), LeftOut("k.json", "damaged", "?")]
    selection = choose_scenes(found, query(), damaged)
    assert [item["id"] for item in selection.items] == ["a", "b", "d", "c"]
    assert [left.scene_id for left in selection.left_out] == ["k.json", "z.json"]
