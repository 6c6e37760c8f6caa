"""Label polygons as pixels: the label band of an image, and the digest of what it was burned from.

Which polygons are fit to be burned is decided in ``labels``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np
import shapely
from rasterio.features import rasterize

from geo_assets.core.grids import crs_of, group_by_crs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import geopandas
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

BACKGROUND = 0
IGNORE = 255

Overlap = Literal["max", "min", "first", "last"]
"""Which class wins a pixel that polygons of several classes claim: the largest or the smallest
value, or that of the polygon that comes first or last in the file."""


def burn_labels(
    own: geopandas.GeoDataFrame,
    other: geopandas.GeoDataFrame,
    geobox: GeoBox,
    *,
    all_touched: bool = True,
    overlap: Overlap = "max",
) -> NDArray[np.uint8]:
    """Burn the polygons of a fold into a label band, as rasterio does.

    A pixel that belongs to a polygon of another split is 255, also where an own polygon claims
    it: a training chip must never teach a test field, neither as background nor as a class.
    Edges of polygons are straight lines in the CRS of the grid. Who burns many grids of one CRS
    saves time by reprojecting the frames to it once.

    Args:
        own: Polygons of the band's own split with a column ``class`` (1 … 254), in any CRS.
        other: Polygons of the other splits of the same fold, in any CRS.
        geobox: The pixels.
        all_touched: Burn every pixel a polygon touches, else those whose centre lies inside.
        overlap: Which class wins a pixel claimed by several own polygons.

    Returns:
        (y, x) uint8: 0 background or unlabelled, 1 … 254 class, 255 ignore.
    """
    shapes, values = _near(own, geobox)
    order = {
        "max": np.argsort(values, kind="stable"),
        "min": np.argsort(-values, kind="stable"),
        "first": np.arange(len(values))[::-1],
        "last": np.arange(len(values)),
    }[overlap]
    ignored, _ = _near(other, geobox)
    burned = [(shapes[index], int(values[index])) for index in order]
    burned += [(shape, IGNORE) for shape in ignored]
    if not burned:
        return np.full(geobox.shape.yx, BACKGROUND, np.uint8)
    band: NDArray[np.uint8] = rasterize(
        burned,
        out_shape=geobox.shape.yx,
        transform=geobox.affine,
        fill=BACKGROUND,
        all_touched=all_touched,
        dtype=np.uint8,
    )
    return band


def _near(
    polygons: geopandas.GeoDataFrame, geobox: GeoBox
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Give the polygons near a grid in its CRS, in order, and their classes."""
    # all are reprojected: a box in their CRS would miss edges that are only straight in the grid's
    shapes = np.asarray(polygons.geometry.to_crs(crs_of(geobox).proj).array)
    west, south, east, north = geobox.pad(1).boundingbox.bbox
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    meets = (bounds[:, 0] <= east) & (bounds[:, 2] >= west)
    meets &= (bounds[:, 1] <= north) & (bounds[:, 3] >= south)
    values = polygons["class"].to_numpy(np.int64)[meets]
    return shapes[meets], values


def label_digest(
    own: geopandas.GeoDataFrame,
    other: geopandas.GeoDataFrame,
    geobox: GeoBox,
    *,
    overlap: Overlap = "max",
) -> str:
    """Give the digest of the polygons that meet one grid, see ``label_digests``."""
    return label_digests(own, other, [geobox], overlap=overlap)[0]


def label_digests(
    own: geopandas.GeoDataFrame,
    other: geopandas.GeoDataFrame,
    geoboxes: Sequence[GeoBox],
    *,
    overlap: Overlap = "max",
) -> list[str]:
    """Give, for each grid, the SHA-256 of the polygons that decide its label band.

    A new, moved or reclassified polygon changes the digests of the grids it meets and of no
    other. The digest covers geometry (as stored, in the frame's CRS), class and role of each
    polygon that shares a point with the grid; the class of a polygon of another split is left
    out, since it is burned as 255. The order of polygons counts where ``overlap`` says so.

    Args:
        own: Polygons of the band's own split with a column ``class``.
        other: Polygons of the other splits of the same fold.
        geoboxes: The grids, of one or several CRSs.
        overlap: The rule the band is burned by.

    Returns:
        One hexadecimal digest a grid.
    """
    found: list[list[bytes]] = [[] for _ in geoboxes]
    for role, polygons in (("own", own), ("other", other)):
        classes = polygons["class"].tolist() if role == "own" else [IGNORE] * len(polygons)
        digests = [
            hashlib.sha256(shape + f"|{value}|{role}".encode()).digest()
            for shape, value in zip(polygons.geometry.to_wkb(), classes, strict=True)
        ]
        ordered = role == "own" and overlap in ("first", "last")
        for entries, rows in zip(found, _rows_that_meet(polygons, geoboxes), strict=True):
            here = [digests[row] for row in rows]
            entries.extend(here if ordered else sorted(here))
    return [hashlib.sha256(b"".join(entries)).hexdigest() for entries in found]


def _rows_that_meet(
    polygons: geopandas.GeoDataFrame, geoboxes: Sequence[GeoBox]
) -> list[list[int]]:
    """Give, for each grid, the rows of the polygons that share a point with it, in order."""
    rows: list[list[int]] = [[] for _ in geoboxes]
    for crs, indices in group_by_crs(geoboxes).items():
        squares = shapely.box(*np.array([geoboxes[i].boundingbox.bbox for i in indices]).T)
        tree = shapely.STRtree(np.asarray(polygons.geometry.to_crs(crs.proj).array))
        for square, row in tree.query(squares, predicate="intersects").T.tolist():
            rows[indices[square]].append(row)
    return [sorted(here) for here in rows]
