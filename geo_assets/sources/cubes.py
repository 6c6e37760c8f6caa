"""NDVI cubes of AOI clusters: every clear day on one pixel grid.

What an index, an outlier and a cloud are is in ``core``; how a cube lies on disk in ``storage``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.chips import recipe_digest
from geo_assets.core.indices import MISSING, normalized_difference, quantise_index
from geo_assets.core.outliers import treat_outliers
from geo_assets.errors import StorageError
from geo_assets.sources.composites import BLOCK, grid_recipe, scene_pin
from geo_assets.sources.observations import (
    FailedWindow,
    items_meeting,
    merge_windows,
    observe,
)
from geo_assets.sources.scene_order import solar_day
from geo_assets.storage.cube import open_cube, write_cube

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from xarray import Dataset

    from geo_assets.core.outliers import OutlierRule
    from geo_assets.sources.observations import CloudRules
    from geo_assets.sources.protocol import Item, RasterSource

RECIPE_ATTRIBUTE = "geo_assets_recipe"
FAILED_ATTRIBUTE = "failed_windows"


@dataclass(frozen=True)
class CubeRules:
    """How observations become a cube.

    Attributes:
        red: Red band.
        nir: Near-infrared band.
        clouds: Which observations are clear.
        min_clear: Least clear share of the area for a day to enter the cube, 0 to 1.
        outliers: What happens to values far from their day's median.
        n_sigma: How far that is, in robust sigmas.
    """

    red: str
    nir: str
    clouds: CloudRules
    min_clear: float
    outliers: OutlierRule
    n_sigma: float

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON values, for recipes."""
        return asdict(self) | {"clouds": self.clouds.to_dict()}


@dataclass(frozen=True)
class CubeFacts:
    """What a published cube holds.

    Attributes:
        days: Its days.
        valid_share: For each day, the share of the area with a value.
        outliers: Values that were treated as outliers, over all days.
        failed: Windows that could not be read; their pixels are missing on that day.
    """

    days: tuple[str, ...]
    valid_share: tuple[float, ...]
    outliers: int
    failed: tuple[FailedWindow, ...]


@dataclass(frozen=True)
class CubeBuilder:
    """Builds the NDVI cube of one cluster.

    Attributes:
        source: Where pixels come from.
        items: The scenes.
        geobox: The cluster's pixel grid.
        area: (y, x) bool, the AOI; outside of it NDVI is missing.
        rules: How the cube is made.
        attrs: Title, attribution, licence.
    """

    source: RasterSource
    items: Sequence[Item]
    geobox: GeoBox
    area: NDArray[np.bool_]
    rules: CubeRules
    attrs: Mapping[str, str]

    def recipe(self) -> str:
        """Return the digest of everything that decides the cube's values."""
        return recipe_digest(
            {
                "source": self.source.describe(),
                "rules": self.rules.to_dict(),
                "grid": grid_recipe(self.geobox),
                "scenes": [scene_pin(item) for item in items_meeting(self.items, self.geobox)],
                "area": _digest_of(self.area),
            }
        )

    def build(
        self, path: Path, progress: Callable[[int, int], None] | None = None
    ) -> tuple[CubeFacts, str]:
        """Publish the cube, unless a whole one of the same recipe lies there.

        Args:
            path: The Zarr store.
            progress: Told (blocks done, blocks in all).

        Returns:
            What it holds and what was done: ``built`` or ``kept``.
        """
        recipe = self.recipe()
        if path.exists():
            known = _read_facts(path, self.area, recipe)
            if known is not None and not known.failed:
                return known, "kept"
        days, ndvi, failed = self._ndvi(progress)
        treated = 0
        values = np.full(ndvi.shape, MISSING, np.int16)
        for number, day in enumerate(ndvi):
            clean, count = treat_outliers(day, self.rules.outliers, self.rules.n_sigma)
            values[number] = quantise_index(clean)
            treated += count
        write_cube(
            path,
            {"ndvi": values},
            days.astype("datetime64[ms]"),
            self.geobox,
            {
                **self.attrs,
                RECIPE_ATTRIBUTE: recipe,
                "outliers": treated,
                FAILED_ATTRIBUTE: json.dumps([asdict(window) for window in failed]),
            },
        )
        return _facts(days, values != MISSING, self.area, treated, tuple(failed)), "built"

    def _ndvi(
        self, progress: Callable[[int, int], None] | None
    ) -> tuple[NDArray[np.datetime64], NDArray[np.float32], list[FailedWindow]]:
        """NDVI (day, y, x), NaN where missing, of every day that is clear enough."""
        items = items_meeting(self.items, self.geobox)
        days = np.unique(np.array([solar_day(item) for item in items], "datetime64[D]"))
        rows, cols = self.geobox.shape
        ndvi = np.full((len(days), rows, cols), np.nan, np.float32)
        failed: list[FailedWindow] = []
        blocks = [(row, col) for row in range(0, rows, BLOCK) for col in range(0, cols, BLOCK)]
        for done, (row, col) in enumerate(blocks, start=1):
            block = (slice(row, min(row + BLOCK, rows)), slice(col, min(col + BLOCK, cols)))
            if self.area[block].any():
                bands = (self.rules.red, self.rules.nir)
                seen = observe(self.source, items, bands, self.geobox[block], self.rules.clouds)
                for day, data, valid in zip(seen.days, seen.data, seen.valid, strict=True):
                    number = int(np.searchsorted(days, day))
                    ndvi[(number, *block)] = normalized_difference(
                        data[1], data[0], valid & self.area[block], np.float32
                    )
                failed += [window.moved(row, col) for window in seen.failed]
            if progress is not None:
                progress(done, len(blocks))
        inside = max(int(self.area.sum()), 1)
        share = np.isfinite(ndvi).sum(axis=(1, 2)) / inside
        kept = share >= self.rules.min_clear
        return days[kept], ndvi[kept], merge_windows(failed)


def failed_windows_of(cube: Dataset) -> tuple[FailedWindow, ...]:
    """Return the windows that could not be read when a cube was made."""
    return tuple(FailedWindow(**w) for w in json.loads(cube.attrs.get(FAILED_ATTRIBUTE, "[]")))


def _read_facts(path: Path, area: NDArray[np.bool_], recipe: str) -> CubeFacts | None:
    """Return what a published cube of this recipe holds; None if it is another or damaged."""
    try:
        with open_cube(path) as cube:
            if cube.attrs.get(RECIPE_ATTRIBUTE) != recipe:
                return None
            return _facts(
                cube["time"].values.astype("datetime64[D]"),
                np.isfinite(cube["ndvi"].values),
                area,
                int(cube.attrs["outliers"]),
                failed_windows_of(cube),
            )
    except (StorageError, KeyError, ValueError):
        return None


def _facts(
    days: NDArray[np.datetime64],
    valid: NDArray[np.bool_],
    area: NDArray[np.bool_],
    outliers: int,
    failed: tuple[FailedWindow, ...],
) -> CubeFacts:
    inside = max(int(area.sum()), 1)
    return CubeFacts(
        tuple(str(day) for day in days),
        tuple(float(count) / inside for count in valid.sum(axis=(1, 2))),
        outliers,
        failed,
    )


def _digest_of(area: NDArray[np.bool_]) -> str:
    import hashlib

    return hashlib.sha256(np.packbits(area).tobytes()).hexdigest()
