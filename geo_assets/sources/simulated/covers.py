"""The land-cover classes of the simulated landscape: values, names and colours.

Light on purpose. What a class looks like to a satellite is in spectra and phenology.
"""

from __future__ import annotations

from enum import IntEnum


class Cover(IntEnum):
    """Values of the true land-cover rasters (0 is no data)."""

    WATER = 1
    BUILT_UP = 2
    BARE_SOIL = 3
    GRASS = 4
    FOREST = 5
    WINTER_WHEAT = 6
    RAPESEED = 7
    MAIZE = 8
    SUGAR_BEET = 9

    @property
    def label(self) -> str:
        """The name for people and for label polygons."""
        return "built-up" if self is Cover.BUILT_UP else self.name.lower().replace("_", " ")


CROPS: tuple[Cover, ...] = (Cover.WINTER_WHEAT, Cover.RAPESEED, Cover.MAIZE, Cover.SUGAR_BEET)

COLOURS: dict[Cover, str] = {
    Cover.WATER: "#3f7fbf",
    Cover.BUILT_UP: "#c0483c",
    Cover.BARE_SOIL: "#b59a7a",
    Cover.GRASS: "#a5d06a",
    Cover.FOREST: "#2f6b3a",
    Cover.WINTER_WHEAT: "#e8c45a",
    Cover.RAPESEED: "#f2ee4f",
    Cover.MAIZE: "#e58a2e",
    Cover.SUGAR_BEET: "#a05fb0",
}
