"""The spectra of the simulated landscape: reflectance of pure surfaces in the Sentinel-2 bands.

Constants, fixed once. Sources, per row of ``ENDMEMBERS``:

- ``forest``, ``grass``, ``sealed`` and the clear sides of ``water``: medians of pure 5 × 5
  neighbourhoods of the classes forest, grass, urban and water of a real scene (Sentinel-2 L2A,
  Aberystwyth, 2021-05-27, with a four-class map); for ``sealed`` the urban median was freed of its
  vegetated share (0.4 grass), for ``water`` the blue side was lowered from sea to river.
- ``crop``: the greenest 5 % of cropland pixels, April to June, of Belgian monthly composites
  (WorldCereal test resource, Sentinel-2 L2A, 2020-11 to 2021-10); ``soil``: the least green 5 %.
- ``cloud``: shape of a fully cloudy Slovenian scene (2015-08-20), scaled to a thick cloud.
- ``pale_soil``, ``straw``, ``forest_floor``, ``snow``: chosen by hand, in the range of such
  surfaces in the USGS Spectral Library Version 7 (Kokaly et al. 2017, doi:10.3133/ds1035);
  ``rapeseed_flower``: the crop spectrum with the raised green, red and red edge of bloom.

Bands that those data lack (B01, B09, sometimes B8A) continue their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Band:
    """One Sentinel-2 MSI band."""

    name: str
    common_name: str
    """Common name of the STAC eo extension."""
    resolution: int
    """Pixel size in metres."""
    centre_um: float
    width_um: float
    """Centre wavelength and full width at half maximum in micrometres."""


BANDS: tuple[Band, ...] = (
    Band("B01", "coastal", 60, 0.443, 0.027),
    Band("B02", "blue", 10, 0.490, 0.098),
    Band("B03", "green", 10, 0.560, 0.045),
    Band("B04", "red", 10, 0.665, 0.038),
    Band("B05", "rededge", 20, 0.704, 0.019),
    Band("B06", "rededge", 20, 0.740, 0.018),
    Band("B07", "rededge", 20, 0.783, 0.028),
    Band("B08", "nir", 10, 0.842, 0.145),
    Band("B8A", "nir08", 20, 0.865, 0.033),
    Band("B09", "nir09", 60, 0.945, 0.026),
    Band("B11", "swir16", 20, 1.610, 0.143),
    Band("B12", "swir22", 20, 2.190, 0.242),
)
"""The bands of Level-2A in the order of all spectra here (B10 has no surface reflectance)."""

_PERCENT: dict[str, tuple[float, ...]] = {
    #                  B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B11   B12
    "water":           (5.2,  5.0,  5.6,  3.9,  3.3,  2.5,  2.4,  2.1,  2.1,  1.9,  1.3,  0.9),
    "sealed":          (8.6,  9.6, 11.0, 12.2, 14.8, 16.6, 17.4, 18.2, 18.6, 18.8, 22.5, 18.9),
    "soil":            (7.6,  9.0, 11.2, 13.6, 14.6, 17.0, 18.1, 19.0, 19.9, 20.2, 23.4, 19.6),
    "pale_soil":      (11.2, 13.2, 16.4, 19.6, 20.7, 22.0, 22.9, 23.8, 24.6, 24.9, 30.2, 26.4),
    "grass":           (2.9,  4.0,  7.7,  3.6, 14.1, 43.2, 51.0, 54.2, 55.5, 55.6, 23.3, 10.9),
    "forest":          (2.5,  3.1,  5.4,  2.8,  9.4, 28.2, 34.4, 36.4, 38.0, 38.2, 16.2,  7.4),
    "forest_floor":    (3.0,  3.7,  4.9,  5.8,  8.4, 12.6, 14.4, 16.2, 17.3, 17.6, 16.8, 10.8),
    "crop":            (2.0,  2.8,  5.6,  2.6,  9.5, 36.0, 48.4, 52.6, 54.4, 54.8, 17.2,  8.0),
    "straw":           (6.0,  8.0, 12.0, 16.6, 20.2, 24.0, 26.6, 29.4, 31.4, 31.8, 35.2, 26.4),
    "rapeseed_flower": (3.6,  4.8, 15.4, 13.8, 24.0, 45.0, 51.0, 54.8, 56.4, 56.6, 24.4, 12.2),
    "snow":           (80.0, 82.0, 82.5, 82.0, 81.5, 80.5, 79.5, 78.5, 76.5, 66.0, 11.5, 10.2),
    "cloud":          (64.0, 61.0, 59.0, 59.0, 60.5, 62.0, 63.5, 62.5, 65.0, 31.0, 47.0, 37.0),
}  # fmt: skip

ENDMEMBERS: dict[str, np.ndarray] = {
    name: np.asarray(values, np.float32) / np.float32(100) for name, values in _PERCENT.items()
}
"""Reflectance (0 to 1) of each pure surface, in the order of ``BANDS``."""
