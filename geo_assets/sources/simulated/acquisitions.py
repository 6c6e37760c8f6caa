"""The calendar: which acquisitions the archive holds, and what is special about each.

Dates, names and planned cloud cover only; what the clouds look like is the weather's matter.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Literal

WEST, EAST = "32UQV", "33UTQ"

Swath = Literal["whole", "upper", "lower", "corner"]
"""The part of a tile that was seen: all, either side of a datastrip edge, an orbit's edge."""

BASELINE_CHANGE = (7, 5)
"""Month and day from which products are of the later baseline."""
LATER_BASELINE, EARLIER_BASELINE = "04.00", "03.01"
LATER_OFFSET = 1000
"""Digital numbers added to reflectance × 10000 since baseline 04.00 (BOA_ADD_OFFSET is -1000)."""

_FIRST_PASS = (1, 4)
_REVISIT_DAYS = 5
_CLOUDY = {15: 0.95, 27: 1.0, 36: 0.9, 46: 1.0, 54: 0.97}
_USABLE = {
    0: 0.03, 2: 0.05, 4: 0.3,
    # No pass for 45 days: six weeks of rain.
    13: 0.1, 16: 0.25, 19: 0.03, 21: 0.42,
    25: 0.15, 28: 0.3, 30: 0.0, 32: 0.4, 34: 0.1, 37: 0.2, 39: 0.0, 41: 0.38, 43: 0.06, 45: 0.25,
    48: 0.0, 52: 0.05, 56: 0.15, 58: 0.0, 61: 0.3, 65: 0.12, 69: 0.03,
}  # fmt: skip
"""Planned cloud cover by number of the five-day pass since 4 January."""

_SNOW_PASS, _TWO_STRIPS_PASS, _DAMAGED_PASS, _NO_SWIR_PASS = 2, 30, 39, 44
_NEIGHBOUR_ORBIT = (6, 16)


@dataclass(frozen=True)
class Acquisition:
    """One item of the archive."""

    tile: str
    when: dt.datetime
    """Acquisition time, UTC."""
    cover: float
    """Planned share of cloud over the landscape, 0 to 1."""
    sequence: int = 0
    """The last number of the item's id: 1 for the second datastrip of a date."""
    swath: Swath = "whole"
    snow: bool = False
    absent_bands: tuple[str, ...] = ()
    """Bands that the item does not list."""
    lost_bands: tuple[str, ...] = ()
    """Bands that the item lists, but whose file is gone for good."""
    damaged_bands: tuple[str, ...] = ()
    """Bands one block of whose file is damaged until the archive is repaired."""
    orbit: int = field(default=22)

    @property
    def date(self) -> dt.date:
        """Day of the acquisition, UTC."""
        return self.when.date()

    @property
    def platform(self) -> str:
        """The satellite: two fly the same orbit, five days apart."""
        return "sentinel-2a" if self.when.toordinal() // _REVISIT_DAYS % 2 else "sentinel-2b"

    @property
    def item_id(self) -> str:
        """The item's name in the manner of Earth Search: S2A_32UQV_20210104_0_L2A."""
        satellite = f"S2{self.platform[-1].upper()}"
        return f"{satellite}_{self.tile}_{self.date:%Y%m%d}_{self.sequence}_L2A"

    @property
    def baseline(self) -> str:
        """Processing baseline of the product."""
        change = dt.date(self.date.year, *BASELINE_CHANGE)
        return EARLIER_BASELINE if self.date < change else LATER_BASELINE

    @property
    def offset(self) -> int:
        """Digital numbers added to reflectance × 10000."""
        return LATER_OFFSET if self.baseline == LATER_BASELINE else 0


def acquisitions(year: int) -> tuple[Acquisition, ...]:
    """Return all items of a year, sorted by time and id."""
    items: list[Acquisition] = []
    for number, cover in (_USABLE | _CLOUDY).items():
        for tile in (WEST, EAST):
            items += _regular_pass(year, number, tile, cover)
    items.append(Acquisition(EAST, _time(year, _NO_SWIR_PASS, EAST), 0.0, absent_bands=("B11",)))
    neighbour = dt.datetime(year, *_NEIGHBOUR_ORBIT, 10, 20, 21, tzinfo=dt.UTC)
    items.append(Acquisition(WEST, neighbour, 0.0, swath="corner", lost_bands=("B08",), orbit=65))
    return tuple(sorted(items, key=lambda item: (item.when, item.item_id)))


def _regular_pass(year: int, number: int, tile: str, cover: float) -> list[Acquisition]:
    when = _time(year, number, tile)
    if number == _TWO_STRIPS_PASS and tile == WEST:
        later = when + dt.timedelta(seconds=11)
        return [
            Acquisition(tile, when, cover, swath="upper"),
            Acquisition(tile, later, cover, sequence=1, swath="lower"),
        ]
    damaged = ("B04",) if number == _DAMAGED_PASS and tile == EAST else ()
    return [Acquisition(tile, when, cover, snow=number == _SNOW_PASS, damaged_bands=damaged)]


def _time(year: int, number: int, tile: str) -> dt.datetime:
    first = dt.datetime(year, *_FIRST_PASS, 10, 10, 31, tzinfo=dt.UTC)
    seconds = 4 if tile == EAST else 0
    return first + dt.timedelta(days=_REVISIT_DAYS * number, seconds=seconds)
