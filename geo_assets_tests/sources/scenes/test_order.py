from __future__ import annotations

import datetime as dt

import odc.stac
import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, box, mapping, shape

from geo_assets.sources.scenes.order import observation_order, solar_day


def item(lon: float, when: str, **more: str) -> dict[str, object]:
    ring = [[lon - 0.1, 0], [lon + 0.1, 0], [lon + 0.1, 1], [lon - 0.1, 1], [lon - 0.1, 0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": more.pop("id", "x"),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [lon - 0.1, 0, lon + 0.1, 1],
        "properties": {"datetime": when, **more},
        "links": [],
        "assets": {},
    }


@given(
    lon=st.floats(-179, 179),
    when=st.datetimes(dt.datetime(2015, 1, 1), dt.datetime(2026, 1, 1)),  # noqa: DTZ001  # hypothesis wants them naive
)
def test_the_solar_day_is_that_of_odc_stac(lon: float, when: dt.datetime) -> None:
    record = item(lon, f"{when.replace(second=1, microsecond=0).isoformat()}Z")
    west, _, east, _ = shape(record["geometry"]).bounds
    parsed = odc.stac.parse_item(pystac.Item.from_dict(record))
    assert solar_day(record).item() == parsed.solar_date_at((west + east) / 2).date()


def test_a_date_without_a_time_of_day_is_that_date_everywhere() -> None:
    for lon in (-120, 0, 170):
        assert str(solar_day(item(lon, "2009-08-18T00:00:00Z"))) == "2009-08-18"


def test_a_morning_in_new_zealand_has_the_date_it_has_there() -> None:
    assert str(solar_day(item(175, "2021-03-04T22:15:00Z"))) == "2021-03-05"


@pytest.mark.parametrize(
    ("west", "east", "day"),
    [
        (177.0, 178.9, "2021-06-02"),
        (178.9, -179.6, "2021-06-02"),
        (179.6, -178.9, "2021-06-01"),
        (-178.9, -177.0, "2021-06-01"),
    ],
)
def test_a_scene_that_is_cut_at_180_degrees_has_the_day_of_its_larger_part(
    west: float, east: float, day: str
) -> None:
    cut = [(west, 180), (-180, east)] if east < west else [(west, east)]
    record = item(0, "2021-06-01T22:15:00Z")
    record["geometry"] = mapping(MultiPolygon([box(left, -17, right, -16) for left, right in cut]))
    assert str(solar_day(record)) == day


@pytest.mark.parametrize("when", ["2021-03-04T22:15:00Z", "2021-03-04T22:15:00.123000+00:00"])
def test_times_are_read_in_the_notations_that_archives_use(when: str) -> None:
    assert str(solar_day(item(0, when))) == "2021-03-04"


@pytest.mark.parametrize("stated", ["s2:processing_baseline", "sentinel:processing_baseline"])
def test_a_higher_baseline_comes_first_then_the_id(stated: str) -> None:
    scenes = [
        item(0, "2021-03-04T00:00:00Z", id=name, **{stated: baseline})
        for name, baseline in [("c", "02.14"), ("b", "05.00"), ("a", "05.00"), ("d", "what")]
    ]
    assert [scene["id"] for scene in observation_order(scenes)] == ["a", "b", "c", "d"]
