"""Band names: which of them mean the same band.

Earth Search calls Sentinel-2's band 4 ``red``, the Planetary Computer ``B04``; a campaign may use
either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SENTINEL_2_NAMES: dict[str, tuple[str, ...]] = {
    "B01": ("coastal",),
    "B02": ("blue",),
    "B03": ("green",),
    "B04": ("red",),
    "B05": ("rededge1", "rededge071"),
    "B06": ("rededge2", "rededge075"),
    "B07": ("rededge3", "rededge078"),
    "B08": ("nir",),
    "B8A": ("nir08", "rededge4"),
    "B09": ("nir09",),
    "B10": ("cirrus",),
    "B11": ("swir16",),
    "B12": ("swir22",),
    "SCL": ("scl",),
    "AOT": ("aot",),
    "WVP": ("wvp",),
}
"""ESA's name of each band or layer -> the others in use: keys of Earth Search v1 (the first of
each) and common names of the STAC eo extension. ``rededge`` is missing on purpose: it is the
common name of three or four bands."""

REFLECTANCE_BANDS = frozenset(name for name in SENTINEL_2_NAMES if name.startswith("B"))
"""Sentinel-2 bands that hold reflectance, in ESA's names."""

_ESA_NAME = {
    name.casefold(): esa for esa, others in SENTINEL_2_NAMES.items() for name in (esa, *others)
} | {f"b{number}": f"B0{number}" for number in range(1, 10)}
_SHORT_NAMES = {"r": "red", "g": "green", "b": "blue", "n": "nir"}


def esa_name(band: str) -> str | None:
    """Return ESA's name of a Sentinel-2 band or layer, None if it is none of them."""
    return _ESA_NAME.get(band.casefold())


def common_name(band: str) -> str:
    """Return the name of a band by colour: ``B04`` and ``R`` are ``red``; unknown ones as they are.

    Sentinel-2's names, and the one-letter names of Planet's basemaps.
    """
    name = band.casefold()
    if name in _SHORT_NAMES:
        return _SHORT_NAMES[name]
    esa = esa_name(band)
    return band if esa is None else SENTINEL_2_NAMES[esa][0]


def bands_of_ndvi(bands: Sequence[str]) -> tuple[str, str]:
    """Return which of some bands are red and near infrared, or their common names if none is."""
    named = {common_name(band): band for band in reversed(bands)}
    return named.get("red", "red"), named.get("nir", "nir")
