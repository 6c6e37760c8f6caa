"""Cutting grids into chips: regular windows of the pixel lattice, and the table of them.

Windows start at whole multiples of the stride, counted on the lattice and not from the corner of
an area. Chips of overlapping areas therefore coincide, and an area that grows renames none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import geopandas
import numpy as np
import pandas as pd
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geo_assets.core.grids import Lattice, authority_code, crs_of, group_by_crs
from geo_assets.errors import AreaError, CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Border = Literal["pad", "drop"]
"""Windows that reach beyond the area are kept (``pad``) or left out (``drop``)."""
Keep = Literal["labelled", "all"]
"""Chips that meet a label polygon, or all."""

_STRINGS = ("chip_id", "fold", "split", "proj:code")
_INTEGERS = ("cluster", "row", "col", "size")
COLUMNS = (
    "chip_id",
    "fold",
    "split",
    "cluster",
    "row",
    "col",
    "size",
    "proj:code",
    "proj:transform",
    "proj:shape",
    "geometry",
)


@dataclass(frozen=True)
class ChipWindow:
    """One square window of a pixel lattice."""

    row: int
    """Row of the upper-left pixel on the lattice."""
    col: int
    """Column of the upper-left pixel on the lattice."""
    size: int
    """Side in pixels."""
    geobox: GeoBox
    """The window's pixels."""


def chip_stride(size: int, overlap: float) -> int:
    """Give the distance of neighbouring chips in pixels, ``max(1, round(size * (1 - overlap)))``.

    Raises:
        CampaignError: The size is not positive, or the overlap is not within 0 ≤ overlap < 1.
    """
    if size < 1:
        raise CampaignError(f"chips: size {size}: must be at least 1 pixel")
    if not 0 <= overlap < 1:
        raise CampaignError(f"chips: overlap {overlap}: must be at least 0 and less than 1")
    return max(1, round(size * (1 - overlap)))


def count_chip_windows(area: GeoBox, size: int, overlap: float, border: Border) -> int:
    """Give the number of windows that ``chip_windows`` would make, without making them.

    Raises:
        CampaignError: The size or the overlap is out of bounds.
    """
    rows, cols = _starts(area, size, chip_stride(size, overlap), border)
    return len(rows) * len(cols)


def chip_windows(area: GeoBox, size: int, overlap: float, border: Border) -> list[ChipWindow]:
    """Cut an area into windows, row by row from the north-west.

    Args:
        area: The pixels to cut.
        size: Side of a window in pixels.
        overlap: Share of a window that its neighbour repeats, 0 ≤ overlap < 1.
        border: ``pad``: every window that shares a pixel with the area, also those that reach
            beyond it; ``drop``: windows that lie inside. An area smaller than a window has none
            of the latter.

    Raises:
        CampaignError: The size or the overlap is out of bounds.
        SourceError: The area has no CRS, or is rotated or sheared.
    """
    rows, cols = _starts(area, size, chip_stride(size, overlap), border)
    lattice = Lattice.of(area)
    return [
        ChipWindow(row, col, size, lattice.window(row, col, (size, size)))
        for row in rows
        for col in cols
    ]


def _starts(area: GeoBox, size: int, stride: int, border: Border) -> tuple[range, range]:
    top, left = Lattice.of(area).position(area)
    return (
        _starts_along(top, area.shape.y, size, stride, border),
        _starts_along(left, area.shape.x, size, stride, border),
    )


def _starts_along(start: int, length: int, size: int, stride: int, border: Border) -> range:
    """Give the multiples of the stride at which windows of one axis start."""
    if border == "pad":
        first, last = start - size + 1, start + length - 1
    else:
        first, last = start, start + length - size
    return range(math.ceil(first / stride) * stride, last + 1, stride)


def merge_windows(
    areas: Mapping[int, GeoBox], size: int, overlap: float, border: Border
) -> list[tuple[int, ChipWindow]]:
    """Cut the areas of all clusters of a partition into windows, each window once.

    A window that several clusters share belongs to the cluster that covers most of its pixels,
    of equals to the lowest. Two lattices of one CRS and pixel size that differ by a fraction of a
    pixel count as one.

    Args:
        areas: Cluster to its pixels.
        size: As for ``chip_windows``.
        overlap: As for ``chip_windows``.
        border: As for ``chip_windows``.

    Returns:
        (cluster, window), by CRS, row and column.

    Raises:
        CampaignError: Size or overlap are out of bounds, or clusters share a CRS but not the size
            of a pixel, so that row and column would not tell their chips apart.
    """
    _check_pixel_sizes(areas)
    owners: dict[tuple[str, int, int], tuple[int, int, ChipWindow]] = {}
    for cluster in sorted(areas):
        area = areas[cluster]
        top, left = Lattice.of(area).position(area)
        for window in chip_windows(area, size, overlap, border):
            key = (str(crs_of(area)), window.row, window.col)
            height = min(window.row + size, top + area.shape.y) - max(window.row, top)
            width = min(window.col + size, left + area.shape.x) - max(window.col, left)
            if key not in owners or height * width > owners[key][0]:
                owners[key] = (height * width, cluster, window)
    return [owners[key][1:] for key in sorted(owners)]


def _check_pixel_sizes(areas: Mapping[int, GeoBox]) -> None:
    first: dict[str, tuple[int, float, float]] = {}
    for cluster, area in areas.items():
        lattice = Lattice.of(area)
        known, pixel_x, pixel_y = first.setdefault(
            str(crs_of(area)), (cluster, lattice.pixel_x, lattice.pixel_y)
        )
        if not np.allclose((pixel_x, pixel_y), (lattice.pixel_x, lattice.pixel_y), rtol=1e-9):
            raise CampaignError(
                f"clusters {known} and {cluster} have pixels of {pixel_x} x {pixel_y} and of "
                f"{lattice.pixel_x} x {lattice.pixel_y} in {lattice.crs}; state one resolution"
            )


def windows_that_meet(
    windows: Sequence[tuple[int, ChipWindow]], polygons: geopandas.GeoDataFrame
) -> list[tuple[int, ChipWindow]]:
    """Keep the windows whose square shares more than an edge with some polygon.

    Args:
        windows: (cluster, window), as from ``merge_windows``.
        polygons: Polygons in any CRS; they are compared in the CRS of each window.
    """
    kept = np.zeros(len(windows), dtype=bool)
    for crs, indices in group_by_crs([window.geobox for _, window in windows]).items():
        squares = shapely.box(*_bounds([windows[i][1].geobox for i in indices]).T)
        shapes = np.asarray(polygons.geometry.to_crs(str(crs)).array)
        square, shape = shapely.STRtree(shapes).query(squares, predicate="intersects")
        inner = ~shapely.touches(squares[square], shapes[shape])
        kept[np.asarray(indices)[square[inner]]] = True
    return [window for window, keep in zip(windows, kept, strict=True) if keep]


def chip_id(fold: str, split: str, crs_code: str, row: int, col: int) -> str:
    """Name a chip, for instance ``north-train-32632-r0530123-c0061234``.

    Row and column have at least seven digits, so that names sort by distance from the origin of
    the CRS. Rows north of it and columns west of it are negative: their number carries an ``m``
    for minus (``rm0530123``).

    Args:
        fold: Name of the fold.
        split: Name of the split.
        crs_code: Code of the CRS, such as ``EPSG:32632``; authorities other than EPSG are spelled.
        row: Row on the lattice.
        col: Column on the lattice.
    """
    crs_name = crs_code.removeprefix("EPSG:").replace(":", "_")
    return f"{fold}-{split}-{crs_name}-{_signed('r', row)}-{_signed('c', col)}"


def _signed(axis: str, index: int) -> str:
    return f"{axis}{'m' if index < 0 else ''}{abs(index):07d}"


def chip_grid(
    areas: Mapping[int, GeoBox],
    polygons: geopandas.GeoDataFrame,
    *,
    fold: str,
    split: str,
    size: int,
    overlap: float,
    border: Border,
    keep: Keep,
) -> geopandas.GeoDataFrame:
    """Make the table of chips of one partition.

    Args:
        areas: Cluster to the pixels of its image; may be empty.
        polygons: The label polygons of the partition, in any CRS.
        fold: Name of the fold.
        split: Name of the split.
        size: Side of a chip in pixels.
        overlap: Share of a chip that its neighbour repeats, 0 ≤ overlap < 1.
        border: Keep or drop chips that reach beyond their area.
        keep: Chips that meet a polygon, or all.

    Returns:
        See ``chip_frame``.

    Raises:
        CampaignError: Size or overlap are out of bounds, or pixel sizes of one CRS differ.
        AreaError: A chip crosses the antimeridian.
        SourceError: A grid is rotated, or its CRS has no code.
    """
    windows = merge_windows(areas, size, overlap, border)
    if keep == "labelled":
        windows = windows_that_meet(windows, polygons)
    return chip_frame(windows, fold=fold, split=split)


def chip_frame(
    windows: Iterable[tuple[int, ChipWindow]], *, fold: str, split: str
) -> geopandas.GeoDataFrame:
    """Make the table of chips from (cluster, window).

    Returns:
        EPSG:4326, sorted by ``chip_id``; columns chip_id, fold, split, cluster, row, col, size,
        proj:code, proj:transform (6 numbers, row by row), proj:shape (rows, columns) and geometry,
        the four corners. Without windows an empty frame of the same types.

    Raises:
        AreaError: A chip crosses the antimeridian.
        SourceError: The CRS of a window has no code in a register.
    """
    pairs = list(windows)
    boxes = [window.geobox for _, window in pairs]
    codes = {crs: authority_code(crs) for crs in group_by_crs(boxes)}
    rows: dict[str, list[Any]] = {
        "chip_id": [chip_id(fold, split, codes[crs_of(w.geobox)], w.row, w.col) for _, w in pairs],
        "fold": [fold] * len(pairs),
        "split": [split] * len(pairs),
        "cluster": [cluster for cluster, _ in pairs],
        "row": [window.row for _, window in pairs],
        "col": [window.col for _, window in pairs],
        "size": [window.size for _, window in pairs],
        "proj:code": [codes[crs_of(box)] for box in boxes],
        "proj:transform": [list(box.affine)[:6] for box in boxes],
        "proj:shape": [[box.shape.y, box.shape.x] for box in boxes],
    }
    # lists stay objects: pandas cannot read back Arrow's own list types from a Parquet file
    types = {**dict.fromkeys(_STRINGS, "str"), **dict.fromkeys(_INTEGERS, "int64")}
    table = pd.DataFrame(rows, dtype=object).astype(types)
    frame = geopandas.GeoDataFrame(table, geometry=footprints(boxes), crs="EPSG:4326")
    return frame[list(COLUMNS)].sort_values("chip_id", ignore_index=True)


def geobox_of_row(row: Mapping[str, Any]) -> GeoBox:
    """Give the grid of a row of the table, exactly as it was written.

    Args:
        row: Anything with ``proj:code``, ``proj:transform`` and ``proj:shape``.
    """
    height, width = (int(value) for value in row["proj:shape"])
    transform = Affine(*(float(value) for value in row["proj:transform"]))
    return GeoBox((height, width), transform, row["proj:code"])


def footprints(geoboxes: Sequence[GeoBox]) -> np.ndarray:
    """Give the corners of grids as polygons in longitude and latitude, counter-clockwise.

    Raises:
        AreaError: A grid crosses the antimeridian.
    """
    polygons = np.empty(len(geoboxes), dtype=object)
    for crs, indices in group_by_crs(geoboxes).items():
        west, south, east, north = _bounds([geoboxes[i] for i in indices]).T
        corners = np.stack(
            Transformer.from_crs(str(crs), "EPSG:4326", always_xy=True).transform(
                np.column_stack([west, east, east, west, west]),
                np.column_stack([south, south, north, north, south]),
            ),
            axis=-1,
        )
        longitude = corners[..., 0]
        crossing = np.flatnonzero(np.ptp(longitude, axis=1) > 180)
        if crossing.size:
            raise AreaError(
                f"{crossing.size} grids in {crs} cross the antimeridian, the first at "
                f"{tuple(geoboxes[indices[crossing[0]]].boundingbox.bbox)}; split the areas there"
            )
        polygons[indices] = shapely.polygons(corners)
    return polygons


def _bounds(geoboxes: Sequence[GeoBox]) -> np.ndarray:
    """Give (n, 4) of minx, miny, maxx, maxy, each grid in its own CRS."""
    return np.array([geobox.boundingbox.bbox for geobox in geoboxes])
