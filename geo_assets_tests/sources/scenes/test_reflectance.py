from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.errors import SourceError
from geo_assets.sources.scenes.reflectance import add_offset, digital_number_offset

if TYPE_CHECKING:
    from pathlib import Path


def features(path: Path) -> list[dict[str, Any]]:
    records = json.loads(path.read_text())
    found: list[dict[str, Any]] = (
        records if isinstance(records, list) else records.get("features", [records])
    )
    return found


def sentinel(asset: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "id": "scene",
        "collection": "sentinel-2-l2a",
        "properties": {"constellation": "sentinel-2", **properties},
        "assets": {"B04": asset or {"eo:bands": [{"name": "B04"}]}},
    }


def raster(scale: Any, offset: Any) -> dict[str, Any]:
    return {"raster:bands": [{"scale": scale, "offset": offset}]}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "asset", "expected"),
    [
        ("earth_search_v1_sentinel-2-c1-l2a_items.json", "red", -1000),
        ("earth_search_v1_sentinel-2-c1-l2a_items.json", "coastal", -1000),
        ("earth_search_v1_sentinel-2-c1-l2a_items.json", "scl", 0),
        ("earth_search_v1_sentinel-2-c1-l2a_items.json", "wvp", 0),
        ("planetary_computer_sentinel-2-l2a_two_items.json", "B04", -1000),
        ("planetary_computer_sentinel-2-l2a_two_items.json", "SCL", 0),
        ("planetary_computer_sentinel-2-l2a_13items_35MNM.json", "B04", 0),
        ("planetary_computer_naip_items_list.json", "image", 0),
        ("planetary_computer_cop-dem-glo-30_items_list.json", "data", 0),
    ],
)
def test_real_items_have_the_offset_of_their_archive(
    real_data: Path, name: str, asset: str, expected: int
) -> None:
    for item in features(real_data / "stac_json" / name):
        assert digital_number_offset(item, asset, {}) == expected, item["id"]


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["s2_rufiji", "slovenia_eopatch", "belgium_multimodal"])
def test_real_items_that_state_an_offset_of_zero_have_none(real_data: Path, folder: str) -> None:
    records = sorted((real_data / folder / "items").glob("*/*.json"))
    assert records
    for record in records:
        item = json.loads(record.read_text())
        assert {digital_number_offset(item, key, {}) for key in item["assets"]} == {0}


@pytest.mark.real_data
def test_an_earth_search_v0_item_is_refused_unless_its_collection_has_a_rule(
    real_data: Path,
) -> None:
    (item,) = features(real_data / "stac_json/earth_search_v0_S2A_28QCH_20200714_0_L2A.json")
    with pytest.raises(SourceError, match=r"S2A_28QCH.*'B04'.*sentinel-s2-l2a-cogs: 0"):
        digital_number_offset(item, "B04", {})
    assert digital_number_offset(item, "B04", {"sentinel-s2-l2a-cogs": -1000}) == -1000
    assert digital_number_offset(item, "SCL", {}) == 0


@pytest.mark.parametrize("flag", ["earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"])
def test_an_offset_that_the_archive_has_applied_is_not_applied_again(flag: str) -> None:
    item = sentinel(raster(0.0001, -0.1), **{flag: True, "s2:processing_baseline": "05.09"})
    assert digital_number_offset(item, "B04", {"sentinel-2-l2a": -1000}) == 0


def test_a_flag_that_says_no_leaves_the_decision_to_what_follows() -> None:
    flag = {"earthsearch:boa_offset_applied": False}
    assert digital_number_offset(sentinel(raster(1e-4, -0.1), **flag), "B04", {}) == -1000
    item = sentinel(**flag, **{"s2:processing_baseline": "02.14"})
    assert digital_number_offset(item, "B04", {}) == 0


def test_raster_bands_beat_the_baseline_which_beats_the_rule() -> None:
    rules = {"sentinel-2-l2a": -7}
    baseline = {"s2:processing_baseline": "04.00"}
    assert digital_number_offset(sentinel(raster(1e-4, 0), **baseline), "B04", rules) == 0
    assert digital_number_offset(sentinel(**baseline), "B04", rules) == -1000
    assert digital_number_offset(sentinel(), "B04", rules) == -7


def test_the_rule_beats_a_stated_offset_that_is_no_whole_number() -> None:
    landsat = {
        "id": "x",
        "collection": "landsat-c2-l2",
        "properties": {"platform": "landsat-8"},
        "assets": {"red": raster(2.75e-05, -0.2), "qa_pixel": {}},
    }
    with pytest.raises(SourceError, match=r"-7272.73 is no.*\{landsat-c2-l2: -7273\}.*: 0\}"):
        digital_number_offset(landsat, "red", {"sentinel-2-l2a": 0})
    for rule in (0, -7273):
        assert digital_number_offset(landsat, "red", {"landsat-c2-l2": rule}) == rule
    assert digital_number_offset(landsat, "qa_pixel", {"landsat-c2-l2": -7273}) == 0


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [("02.14", 0), ("03.01", 0), ("04.00", -1000), ("05.11", -1000), ("10.00", -1000)],
)
def test_baselines_compare_as_numbers(baseline: str, expected: int) -> None:
    item = sentinel(**{"s2:processing_baseline": baseline})
    assert digital_number_offset(item, "B04", {}) == expected


def test_raster_fields_of_stac_1_1_are_understood() -> None:
    item = sentinel({"bands": [{"name": "B04", "raster:scale": 1e-4, "raster:offset": -0.1}]})
    assert digital_number_offset(item, "B04", {}) == -1000


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (
            sentinel(raster(0.0001, -0.00006)),
            r"= -0.6 is no whole digital number.*imagery.offsets: \{sentinel-2-l2a: -1\}",
        ),
        (sentinel(raster(0.0001, "much")), "must be finite numbers"),
        (sentinel(raster(0.0001, "inf")), "must be finite numbers"),
        (sentinel(**{"s2:processing_baseline": "new"}), "'new'; it must be like '04.00'"),
        (sentinel(), r"imagery.offsets: \{sentinel-2-l2a: 0\}"),
    ],
)
def test_what_cannot_be_decided_is_refused_by_name(item: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        digital_number_offset(item, "B04", {})


@pytest.mark.parametrize(
    ("key", "bands", "expected"),
    [
        ("image", [{"common_name": "red"}], -1000),
        ("data", [{"name": "red_band", "eo:common_name": "red"}], -1000),
        ("re", [{"name": "re", "common_name": "rededge"}], -1000),
        ("B04_10m", [], -1000),
        ("B8A_20m", [], -1000),
        ("SCL_20m", [], 0),
        ("aot", [{"name": "aot"}], 0),
    ],
)
def test_reflectance_is_known_by_each_name_that_a_band_is_found_by(
    key: str, bands: list[dict[str, str]], expected: int
) -> None:
    item = sentinel(**{"s2:processing_baseline": "05.00"})
    item["assets"] = {key: {"eo:bands": bands}}
    assert digital_number_offset(item, key, {}) == expected


def test_other_data_have_the_offset_they_state_or_none() -> None:
    item = {"id": "x", "properties": {}, "assets": {"a": raster(0.5, -3), "b": {}}}
    assert digital_number_offset(item, "a", {}) == -6
    assert digital_number_offset(item, "b", {}) == 0


@given(
    values=st.lists(st.integers(0, 65535), min_size=1, max_size=40), offset=st.integers(-2000, 2000)
)
@settings(deadline=None)
def test_no_datum_wraps_or_becomes_no_data(values: list[int], offset: int) -> None:
    data = np.array([values], np.uint16)
    valid = data != 0
    moved = data.copy()
    add_offset(moved, valid, offset)
    expected = np.clip(data.astype(np.float64) + offset, 1, 65535)
    assert np.array_equal(moved[valid], data[valid] if offset == 0 else expected[valid])
    assert np.array_equal(moved[~valid], data[~valid])


def test_no_datum_becomes_a_no_data_value_other_than_zero() -> None:
    data = np.array([[65535, 65000, 40]], np.uint16)
    add_offset(data, np.array([[False, True, True]]), 600, 65535)
    assert data.tolist() == [[65535, 65534, 640]]


def test_signed_and_floating_data_are_moved_in_their_own_dtype() -> None:
    valid = np.array([[True, False]])
    signed = np.array([[5, 5]], np.int16)
    add_offset(signed, valid, -10, None)
    assert signed.tolist() == [[-5, 5]]
    floating = np.array([[0.5, np.nan]], np.float32)
    add_offset(floating, valid, 2, None)
    assert floating[0, 0] == 2.5
