"""One day of a cube, chunk by chunk: observations of its scenes become values, packed to store.

A chunk depends on its task alone, so chunks are seen side by side, here or on a cluster.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.compositing import fill_value
from geo_assets.core.indices import MISSING, compute_index, quantise_in_range
from geo_assets.core.ndvi import has_quantised_ndvi, quantised_ndvi
from geo_assets.products.cubes.rules import NDVI, CubeRules
from geo_assets.products.observations import observe
from geo_assets.sources.scenes.open_files import kept_open
from geo_assets.storage.cubes.chunk_files import PackedChunk, pack_chunk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.products.observations import Observations
    from geo_assets.products.windows import FailedWindow
    from geo_assets.sources.protocol import Item, RasterSource


@dataclass(frozen=True, eq=False)
class DayChunk:
    """A chunk of one day to be seen.

    Attributes:
        day: The day.
        source: Where pixels come from.
        items: The day's scenes.
        geobox: The chunk's pixel grid.
        row: First row within the cube.
        col: First column within the cube.
        edges: Rows and columns of a whole chunk; those at the far edges are smaller.
        area: (y, x) bool, the AOI within the chunk; None: all of it.
        rules: How the cube is made.
        scales: Reflectance of one digital number, for the bands whose scale matters.
    """

    day: str
    source: RasterSource
    items: Sequence[Item]
    geobox: GeoBox
    row: int
    col: int
    edges: tuple[int, int]
    area: NDArray[np.bool_] | None
    rules: CubeRules
    scales: Mapping[str, float]


@dataclass(eq=False)
class SeenChunk:
    """What was seen in a chunk.

    Attributes:
        packed: By variable, ready to be written: indices as int16 in steps of 1e-4, bands in the
            source's dtype. Bands are missing from it as long as no scene was read.
        raw: Indices whose outliers are to be treated first, (y, x) float64, NaN where missing; they
            are not packed.
        clear: Clear pixels of the area.
        outside: By variable, values of an index beyond int16, which are missing.
        moved: By band, data that would pass for no datum, stored as the next number.
        failed: Windows of the cube that could not be read.
        read: Whether any scene was read that has a datum in the area, clear or not.
    """

    packed: dict[str, PackedChunk] = field(default_factory=dict)
    raw: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    clear: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    failed: list[FailedWindow] = field(default_factory=list)
    read: bool = False


def see_chunk(task: DayChunk) -> SeenChunk:
    """Read the scenes of one day in one chunk; where it lies outside of the area nothing is read.

    Raises:
        SourceError: If a scene cannot be understood (not if its pixels cannot be read).
    """
    seen = SeenChunk()
    if task.area is None or task.area.any():
        rules = task.rules
        with kept_open():
            found = observe(
                task.source, task.items, rules.bands, task.geobox, rules.clouds, area=task.area
            )
        _take(seen, task, found)
    shape = task.geobox.shape.yx
    for index in task.rules.all_indices:
        if task.rules.outliers != "none":
            seen.raw.setdefault(index.variable, np.full(shape, np.nan))
        elif index.variable not in seen.packed:
            nothing = np.full(shape, MISSING, np.int16)
            seen.packed[index.variable] = pack_chunk(nothing, MISSING, task.edges)
    return seen


def _take(seen: SeenChunk, task: DayChunk, found: Observations) -> None:
    rules = task.rules
    seen.failed += [window.moved(task.row, task.col) for window in found.failed]
    seen.read = found.met
    for data, valid in zip(found.data, found.valid, strict=True):  # one day, if any
        known = valid if task.area is None else valid & task.area
        seen.clear += int(np.count_nonzero(known))
        bands = dict(zip(rules.bands, data, strict=True))
        for index in rules.all_indices:
            pair = [bands[band] for _, band in index.bands]
            if index.variable == NDVI and rules.outliers == "none" and has_quantised_ndvi(*pair):
                # What follows gives the same, by way of float64 images.
                steps = quantised_ndvi(pair[0], pair[1], known)
                seen.packed[NDVI] = pack_chunk(steps, MISSING, task.edges)
                continue
            given = {common: bands[band] for common, band in index.bands}
            if not index.scale_free:
                given = {c: given[c].astype(np.float64) * task.scales[b] for c, b in index.bands}
            values = compute_index(index.name, given, known)
            if rules.outliers != "none":
                seen.raw[index.variable] = values
                continue
            steps, outside = quantise_in_range(values)
            seen.outside[index.variable] += outside
            seen.packed[index.variable] = pack_chunk(steps, MISSING, task.edges)
        for band in rules.raw_bands:
            kept = _kept(seen, band, bands[band], known)
            seen.packed[band] = pack_chunk(kept, fill_value(kept.dtype), task.edges)


def _kept(seen: SeenChunk, band: str, data: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[Any]:
    """Return a band as it is, but for data that would pass for none."""
    fill = fill_value(data.dtype)
    if data.dtype.kind in "ui":
        taken = known & (data == fill)
        if taken.any():
            seen.moved[band] += int(np.count_nonzero(taken))
            data = np.where(taken, data.dtype.type(fill + 1), data)
    return np.where(known, data, data.dtype.type(fill))
