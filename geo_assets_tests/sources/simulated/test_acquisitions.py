"""The calendar of the year."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter

import pytest

from geo_assets.sources.simulated.acquisitions import EAST, WEST, acquisitions

YEAR = acquisitions(2021)
WHOLE = [item for item in YEAR if item.swath != "corner" and not item.absent_bands]


def dates(items):
    return sorted({item.date for item in items})


def test_item_ids_are_unique_and_sorted_by_time():
    assert len({item.item_id for item in YEAR}) == len(YEAR)
    assert [item.when for item in YEAR] == sorted(item.when for item in YEAR)


def test_both_tiles_are_seen_on_the_same_29_dates_of_which_24_are_usable():
    west, east = ([item for item in WHOLE if item.tile == tile] for tile in (WEST, EAST))
    assert dates(west) == dates(east)
    assert len(dates(west)) == 29
    assert len(dates(item for item in west if item.cover <= 0.6)) == 24


def test_there_is_one_gap_of_six_weeks_among_the_acquisitions():
    days = dates(WHOLE)
    gaps = [(later - earlier).days for earlier, later in itertools.pairwise(days)]
    assert sum(gap >= 42 for gap in gaps) == 1


def test_one_date_has_two_datastrips_of_one_tile():
    doubled = [key for key, n in Counter((i.tile, i.date) for i in YEAR).items() if n > 1]
    assert doubled == [(WEST, dt.date(2021, 6, 3))]
    assert [i.item_id[-6:] for i in YEAR if (i.tile, i.date) == doubled[0]] == ["_0_L2A", "_1_L2A"]


@pytest.mark.parametrize("odd", ["corner", "no swir"])
def test_the_odd_items_have_a_date_of_their_own(odd):
    (item,) = [i for i in YEAR if (i.swath == "corner" if odd == "corner" else i.absent_bands)]
    assert [other for other in YEAR if other.date == item.date] == [item]


def test_satellites_take_turns_every_five_days():
    by_day = {item.date: item.platform for item in YEAR if item.orbit == 22}
    first = min(by_day)
    odd = {p for day, p in by_day.items() if (day - first).days // 5 % 2}
    even = {p for day, p in by_day.items() if not (day - first).days // 5 % 2}
    assert (odd, even) == ({"sentinel-2a"}, {"sentinel-2b"})
