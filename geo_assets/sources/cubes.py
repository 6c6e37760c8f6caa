"""NDVI cubes of AOI clusters: every clear day on one pixel grid.

What an index, an outlier and a cloud are is in ``core``; how a cube lies on disk in ``storage``.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.chips import recipe_digest
from geo_assets.core.clouds import clear_share
from geo_assets.core.indices import MISSING, normalized_difference, quantise_index
from geo_assets.core.outliers import treat_outliers
from geo_assets.errors import StorageError
from geo_assets.sources.observations import BLOCK, items_meeting, observe
from geo_assets.sources.recipes import grid_recipe, scene_pins
from geo_assets.sources.scene_order import solar_day
from geo_assets.sources.windows import FailedWindow, merge_windows, tiles_of
from geo_assets.storage.cube import open_cube, write_cube

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from xarray import Dataset

    from geo_assets.core.outliers import OutlierRule
    from geo_assets.sources.observations import CloudRules
    from geo_assets.sources.protocol import Item, RasterSource

RECIPE_ATTRIBUTE = "geo_assets_recipe"
CHECKSUM_ATTRIBUTE = "geo_assets_sha256"
OUTLIERS_ATTRIBUTE = "outliers"
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
        outliers: For each day, the values that were treated as outliers.
        failed: Windows that could not be read; their pixels are missing on that day.
    """

    days: tuple[str, ...]
    valid_share: tuple[float, ...]
    outliers: tuple[int, ...]
    failed: tuple[FailedWindow, ...]


@dataclass(frozen=True, eq=False)
class _Day:
    """One day of a cube."""

    values: NDArray[np.int16]
    """(y, x), NDVI / 1e-4, -32768 where missing."""
    outliers: int


@dataclass(frozen=True, eq=False)
class _Known:
    """A cube that lies on the disk."""

    days: dict[np.datetime64, _Day]
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
        """Return the digest of everything that decides the cube."""
        return recipe_digest(
            {
                "source": self.source.describe(),
                "rules": self.rules.to_dict(),
                "grid": grid_recipe(self.geobox),
                "scenes": scene_pins(items_meeting(self.items, self.geobox)),
                "area": hashlib.sha256(np.packbits(self.area).tobytes()).hexdigest(),
                "attributes": dict(self.attrs),
            }
        )

    def build(
        self, path: Path, progress: Callable[[int, int], None] | None = None
    ) -> tuple[CubeFacts, str]:
        """Make the cube what it should be, reading no more days than that needs.

        Days do not depend on each other, so the days of a cube of the same recipe are kept, but
        for those of which a window could not be read.

        Args:
            path: The Zarr store.
            progress: Told (days done, days in all).

        Returns:
            What it holds and what was done: ``built``, ``healed`` (failed windows could be read
            now) or ``kept`` (already as it should be, or what failed fails still).
        """
        recipe = self.recipe()
        by_day: defaultdict[np.datetime64, list[Item]] = defaultdict(list)
        for item in items_meeting(self.items, self.geobox):
            by_day[solar_day(item)].append(item)
        known = _read(path, recipe)
        lost = {window.scene_id for window in known.failed} if known else set()
        days = dict(known.days) if known else {}
        asked = [
            day
            for day in sorted(by_day)
            if known is None or any(item["id"] in lost for item in by_day[day])
        ]
        failed: list[FailedWindow] = []
        for done, day in enumerate(asked, start=1):
            made, windows = self._day(by_day[day])
            failed += windows
            days.pop(day, None)
            if made is not None:
                days[day] = made
            if progress is not None:
                progress(done, len(asked))
        failed = merge_windows(failed)
        if known is not None and tuple(failed) == known.failed:
            return self._facts(known.days, failed), "kept"
        self._write(path, days, failed, recipe)
        return self._facts(days, failed), "built" if known is None else "healed"

    def _day(self, items: Sequence[Item]) -> tuple[_Day | None, list[FailedWindow]]:
        """Return a day's values, None if it is not clear enough, and what could not be read."""
        ndvi = np.full(self.area.shape, np.nan)
        clear = np.zeros(self.area.shape, bool)
        failed: list[FailedWindow] = []
        for block in tiles_of(self.area.shape, BLOCK):
            area = self.area[block.slices]
            if not area.any():
                continue
            seen = observe(
                self.source,
                items,
                (self.rules.red, self.rules.nir),
                self.geobox[block.slices],
                self.rules.clouds,
            )
            failed += [window.moved(block.row, block.col) for window in seen.failed]
            for (red, nir), valid in zip(seen.data, seen.valid, strict=True):
                clear[block.slices] = valid & area
                ndvi[block.slices] = normalized_difference(nir, red, valid & area)
        if clear_share(clear, self.area) < self.rules.min_clear:
            return None, failed
        clean, outliers = treat_outliers(ndvi, self.rules.outliers, self.rules.n_sigma)
        return _Day(quantise_index(clean), outliers), failed

    def _write(
        self,
        path: Path,
        days: Mapping[np.datetime64, _Day],
        failed: Sequence[FailedWindow],
        recipe: str,
    ) -> None:
        times = sorted(days)
        values = np.full((len(times), *self.area.shape), MISSING, np.int16)
        for number, day in enumerate(times):
            values[number] = days[day].values
        write_cube(
            path,
            {"ndvi": values},
            np.array(times, "datetime64[ms]"),
            self.geobox,
            {
                **self.attrs,
                RECIPE_ATTRIBUTE: recipe,
                CHECKSUM_ATTRIBUTE: _checksum(values),
                OUTLIERS_ATTRIBUTE: [days[day].outliers for day in times],
                FAILED_ATTRIBUTE: json.dumps([asdict(window) for window in failed]),
            },
        )

    def _facts(
        self, days: Mapping[np.datetime64, _Day], failed: Sequence[FailedWindow]
    ) -> CubeFacts:
        inside = max(int(np.count_nonzero(self.area)), 1)
        times = sorted(days)
        return CubeFacts(
            tuple(str(day) for day in times),
            tuple(np.count_nonzero(days[day].values != MISSING) / inside for day in times),
            tuple(days[day].outliers for day in times),
            tuple(failed),
        )


def failed_windows_of(cube: Dataset) -> tuple[FailedWindow, ...]:
    """Return the windows that could not be read when a cube was made."""
    return tuple(FailedWindow(**w) for w in json.loads(cube.attrs.get(FAILED_ATTRIBUTE, "[]")))


def _read(path: Path, recipe: str) -> _Known | None:
    """Return what a published cube of this recipe holds; None if it is another or damaged."""
    if not path.is_dir():
        return None
    try:
        with open_cube(path) as cube:
            if cube.attrs.get(RECIPE_ATTRIBUTE) != recipe:
                return None
            times = cube["time"].values.astype("datetime64[D]")
            outliers = cube.attrs[OUTLIERS_ATTRIBUTE]
            # Day by day, for decoded they take four times the room. Quantised again they are
            # what they were: half a step is far above the noise of decoding.
            days = {
                day: _Day(quantise_index(layer.values), count)
                for day, layer, count in zip(times, cube["ndvi"], outliers, strict=True)
            }
            if cube.attrs.get(CHECKSUM_ATTRIBUTE) != _checksum(day.values for day in days.values()):
                return None
            return _Known(days, failed_windows_of(cube))
    except (StorageError, RuntimeError, OSError, KeyError, ValueError, TypeError):
        # However a store is damaged, another can be made.
        return None


def _checksum(layers: Iterable[NDArray[np.int16]]) -> str:
    """What tells a chunk that was lost, which reads as missing, from one that holds no value."""
    digest = hashlib.sha256()
    for layer in layers:
        digest.update(layer.astype("<i2").tobytes())
    return digest.hexdigest()
