"""Scenes of any size whose pixels are computed when they are read: nothing to store, or to send."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.sources.protocol import SceneRead

CORNER = (500_000, 5_200_000)
PIXEL = 10


def formula_grid(rows, cols):
    """A grid that begins at the corner of all scenes."""
    return GeoBox((rows, cols), Affine(PIXEL, 0, CORNER[0], 0, -PIXEL, CORNER[1]), "EPSG:32633")


@dataclass(frozen=True)
class FormulaSource:
    """As many days as wanted, each with red and near infrared everywhere."""

    rows: int
    cols: int
    days: tuple[str, ...]

    @property
    def items(self):
        footprint = formula_grid(self.rows, self.cols).footprint("EPSG:4326").json
        return [
            {
                "id": f"scene-{day}",
                "geometry": footprint,
                "properties": {"datetime": f"{day}T10:00:00Z"},
                "assets": {},
            }
            for day in self.days
        ]

    def describe(self):
        return {"kind": "formula"}

    def read(self, item, bands, geobox, *, scl_band=None):
        red, nir = red_and_nir(self.days.index(item["id"].removeprefix("scene-")), geobox)
        data = np.stack([{"B04": red, "B08": nir}[band] for band in bands])
        scl = None if scl_band is None else np.full(geobox.shape, 4, np.uint8)
        return SceneRead(data, np.ones(geobox.shape, bool), scl)


def red_and_nir(number, geobox):
    """Digital numbers of a day: sums of two sawteeth, which fall on no edge of blocks."""
    row = round((CORNER[1] - geobox.affine.f) / PIXEL)
    col = round((geobox.affine.c - CORNER[0]) / PIXEL)
    rows, cols = np.ogrid[row : row + geobox.shape.y, col : col + geobox.shape.x]

    def sawteeth(least, height, down, across):
        along = [(factor * axis + 17 * number) % height for factor, axis in (down, across)]
        return (least + along[0]).astype(np.uint16) + along[1].astype(np.uint16)

    return sawteeth(200, 601, (3, rows), (5, cols)), sawteeth(900, 1103, (7, rows), (2, cols))
