"""Clear observations of an area, day by day, with the windows that could not be read named.

Scenes are read one at a time through a ``RasterSource``; clouds are masked; scenes of one solar
day are fused. A read that fails costs its window, never the whole date, and is never silent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.clouds import clear_mask
from geo_assets.core.fusion import DayFusion
from geo_assets.errors import ErrorKind, ReadError
from geo_assets.sources.scene_order import observation_order, solar_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.protocol import Item, RasterSource, SceneRead

LEAF = 64
"""Pixels a side of the smallest window that a failed read is narrowed down to."""


@dataclass(frozen=True)
class CloudRules:
    """Which observations count as clear.

    Attributes:
        band: Name of the scene classification; None: every valid pixel is clear.
        exclude: Its classes that are not clear.
        dilate_m: Metres by which they are grown.
    """

    band: str | None = "SCL"
    exclude: tuple[int, ...] = (0, 1, 3, 8, 9, 10)
    dilate_m: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON values."""
        return asdict(self) | {"exclude": list(self.exclude)}


@dataclass(frozen=True)
class FailedWindow:
    """Pixels of one scene that could not be read, as a window of the area's grid.

    ``row``, ``col``, ``height`` and ``width`` are pixels from the grid's upper left.
    """

    row: int
    col: int
    height: int
    width: int
    scene_id: str
    kind: ErrorKind
    error: str

    def meets(self, row: int, col: int, height: int, width: int) -> bool:
        """Whether the window shares a pixel with another."""
        return (
            self.row < row + height
            and row < self.row + self.height
            and self.col < col + width
            and col < self.col + self.width
        )

    def grown(self, pixels: int, shape: tuple[int, int]) -> FailedWindow:
        """Return the window with a margin, cut at the edges of a grid of that shape."""
        top, left = max(self.row - pixels, 0), max(self.col - pixels, 0)
        bottom = min(self.row + self.height + pixels, shape[0])
        right = min(self.col + self.width + pixels, shape[1])
        return replace(self, row=top, col=left, height=bottom - top, width=right - left)

    def moved(self, rows: int, cols: int) -> FailedWindow:
        """Return the same window counted from an origin that many rows and columns earlier."""
        return replace(self, row=self.row + rows, col=self.col + cols)


@dataclass(frozen=True)
class Observations:
    """Clear observations of one grid.

    Attributes:
        days: (day,) datetime64[D], sorted, unique.
        data: (day, band, y, x), the source's dtype; 0 where not valid.
        valid: (day, y, x), True where every band was read and is clear.
        failed: Windows that could not be read; their pixels are not valid on that day.
    """

    days: NDArray[np.datetime64]
    data: NDArray[Any]
    valid: NDArray[np.bool_]
    failed: tuple[FailedWindow, ...]


def observe(
    source: RasterSource,
    items: Sequence[Item],
    bands: Sequence[str],
    geobox: GeoBox,
    clouds: CloudRules,
) -> Observations:
    """Read every scene that meets a grid and fuse the clear pixels of each solar day.

    Args:
        source: Where pixels come from.
        items: STAC items; those that do not meet the grid cost nothing.
        bands: Bands in order.
        geobox: The grid.
        clouds: Which pixels are clear; clouds are grown across the grid's own edge, so that a
            window of an area gives the same pixels as the area.

    Raises:
        SourceError: If an item cannot be understood (not if its pixels cannot be read).
    """
    margin = round(clouds.dilate_m / abs(geobox.resolution.x))
    padded = geobox.pad(margin) if margin else geobox
    rows, cols = geobox.shape
    inner = (slice(margin, margin + rows), slice(margin, margin + cols))
    fusion = DayFusion()
    seen = False
    failed: list[FailedWindow] = []
    for item in observation_order(items_meeting(items, padded)):
        read = _Reading(source, item, bands, clouds.band)
        scene = read.whole_or_parts(padded)
        failed.extend(_cropped(merge_windows(read.failed), margin, rows, cols))
        if scene is None:
            continue
        clear = scene.valid
        if scene.scl is not None:
            clear = clear & clear_mask(scene.scl, clouds.exclude, dilate_pixels=margin)
        fusion.add(scene.data[(slice(None), *inner)], clear[inner], solar_day(item))
        seen = True
    if not seen:
        nothing = np.zeros((0, len(bands), rows, cols), np.uint16)
        no_days = np.zeros(0, "datetime64[D]")
        return Observations(no_days, nothing, np.zeros((0, rows, cols), bool), tuple(failed))
    data, valid, days = fusion.result()
    return Observations(days, data, valid, tuple(failed))


def items_meeting(items: Sequence[Item], geobox: GeoBox) -> list[Item]:
    """Return the items whose footprint meets a grid."""
    from shapely.geometry import shape

    area = geobox.extent.to_crs("EPSG:4326").geom
    return [item for item in items if shape(item["geometry"]).intersects(area)]


class _Reading:
    """Reads one scene on one grid; narrows a failed read down to the windows that fail."""

    def __init__(
        self, source: RasterSource, item: Item, bands: Sequence[str], scl_band: str | None
    ) -> None:
        from shapely.geometry import shape

        self.source = source
        self.item = item
        self.bands = bands
        self.scl_band = scl_band
        self.footprint = shape(item["geometry"])
        self.failed: list[FailedWindow] = []

    def whole_or_parts(self, geobox: GeoBox) -> SceneRead | None:
        """Read the grid, or what can be read of it, None if nothing can; fills ``failed``."""
        try:
            return self.source.read(self.item, self.bands, geobox, scl_band=self.scl_band)
        except ReadError as error:
            return self._parts(geobox, error)

    def _parts(self, geobox: GeoBox, error: ReadError) -> SceneRead | None:
        """Put a grid together from leaves; those that fail stay without valid pixels."""
        from geo_assets.sources.protocol import SceneRead

        rows, cols = geobox.shape
        data: NDArray[Any] | None = None
        valid = np.zeros((rows, cols), bool)
        scl: NDArray[np.uint8] | None = None
        for row in range(0, rows, LEAF):
            for col in range(0, cols, LEAF):
                window = (slice(row, min(row + LEAF, rows)), slice(col, min(col + LEAF, cols)))
                leaf = self._leaf(geobox[window], row, col, error)
                if leaf is None:
                    continue
                if data is None:
                    data = np.zeros((len(self.bands), rows, cols), leaf.data.dtype)
                data[(slice(None), *window)] = leaf.data
                valid[window] = leaf.valid
                if leaf.scl is not None:
                    scl = np.zeros((rows, cols), np.uint8) if scl is None else scl
                    scl[window] = leaf.scl
        return None if data is None else SceneRead(data, valid, scl)

    def _leaf(self, geobox: GeoBox, row: int, col: int, whole: ReadError) -> SceneRead | None:
        """Read one leaf; None if it fails (noted) or lies outside the scene."""
        if not self.footprint.intersects(geobox.extent.to_crs("EPSG:4326").geom):
            return None
        error = whole
        if whole.kind != "permanent":  # a file that is not there is not there for any leaf
            try:
                return self.source.read(self.item, self.bands, geobox, scl_band=self.scl_band)
            except ReadError as leaf_error:
                error = leaf_error
        height, width = geobox.shape
        self.failed.append(
            FailedWindow(row, col, height, width, self.item["id"], error.kind, str(error))
        )
        return None


def merge_windows(windows: Iterable[FailedWindow]) -> list[FailedWindow]:
    """Join leaves that touch: first along rows, then runs of equal columns down the rows."""
    runs: list[FailedWindow] = []
    for window in sorted(windows, key=lambda w: (w.scene_id, w.row, w.col)):
        last = runs[-1] if runs else None
        if last and _same(last, window, "row", "height") and last.col + last.width == window.col:
            runs[-1] = _grown(last, width=window.width)
        else:
            runs.append(window)
    merged: list[FailedWindow] = []
    for run in sorted(runs, key=lambda w: (w.scene_id, w.col, w.width, w.row)):
        last = merged[-1] if merged else None
        if last and _same(last, run, "col", "width") and last.row + last.height == run.row:
            merged[-1] = _grown(last, height=run.height)
        else:
            merged.append(run)
    return sorted(merged, key=lambda w: (w.scene_id, w.row, w.col))


def _same(one: FailedWindow, other: FailedWindow, *fields: str) -> bool:
    """Whether two windows have one scene, one reason and the same place along an axis."""
    return all(
        getattr(one, field) == getattr(other, field)
        for field in ("scene_id", "kind", "error", *fields)
    )


def _grown(window: FailedWindow, *, width: int = 0, height: int = 0) -> FailedWindow:
    return replace(window, width=window.width + width, height=window.height + height)


def _cropped(
    windows: Iterable[FailedWindow], margin: int, rows: int, cols: int
) -> list[FailedWindow]:
    """Windows of a padded grid, counted on the grid itself; those in the margin fall away."""
    kept = []
    for window in windows:
        top, left = max(window.row - margin, 0), max(window.col - margin, 0)
        bottom = min(window.row + window.height - margin, rows)
        right = min(window.col + window.width - margin, cols)
        if top < bottom and left < right:
            kept.append(replace(window, row=top, col=left, height=bottom - top, width=right - left))
    return kept
