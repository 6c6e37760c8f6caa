"""What label rasters are made from: the features of an area's pixels, read block by block.

Each area is named by paths and rules, so that a block can be read by any worker; pixels never
travel. NDVI of cubes is here, bands of composites in ``composite_bands``; how features are
clustered is in ``core``.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np

from geo_assets.core.areas import measures_metres
from geo_assets.core.grids import crs_of
from geo_assets.core.indices import MISSING, dequantise_index
from geo_assets.core.temporal_features import temporal_features, time_axis
from geo_assets.errors import ClusteringError, StorageError
from geo_assets.products.windows import Window, tiles_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.temporal_features import Every

Missing = Literal["fill", "ignore"]

POSITIONS = ("easting", "northing")
"""Names of the features of place."""

_EDGE = 1024
"""Pixels a side of a cube's chunks: what is decoded whole anyway."""

_BLOCK_VALUES = 2**25
"""Values of a block: 64 MB of a cube's int16."""


@dataclass(frozen=True, eq=False)
class FeatureBlock:
    """Features of the pixels of a window."""

    values: NDArray[np.float32]
    """(feature, y, x)."""
    valid: NDArray[np.bool_]
    """(y, x), True = to be labelled."""
    known: int = 0
    """Values of all features that are not missing."""
    filled: int = 0
    """How many of them were filled, linear in time."""
    held: int = 0
    """How many of those repeat the nearest value beyond the first or last one."""


class AreaFeatures(Protocol):
    """Features of the pixels of an area; pickled it is a few names."""

    @property
    def geobox(self) -> GeoBox:
        """Grid of the area."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature."""

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each feature."""

    def windows(self) -> list[Window]:
        """Return the blocks of the area, row by row."""

    def read(self, window: Window) -> FeatureBlock:
        """Read the features of a block."""


@dataclass(frozen=True)
class NdviDays:
    """NDVI of each day of a cube, as it is stored.

    Days are known by number, so that what is read must be of the very cube that had these days:
    reading raises a StorageError once it has changed.
    """

    path: Path
    geobox: GeoBox
    days: tuple[str, ...]
    checksum: str | None = None
    """What the cube says of its content; None if it says nothing."""

    @classmethod
    def of(cls, path: Path) -> NdviDays:
        """Return what a cube holds, whose values proved to be those that were written.

        Raises:
            StorageError: If the cube is not there, or damaged.
        """
        import odc.geo.xr  # noqa: F401  # registers the accessor that knows a cube's grid

        from geo_assets.storage.cubes.days import CHECKSUM_ATTRIBUTE
        from geo_assets.storage.cubes.opening import open_cube, open_group
        from geo_assets.storage.cubes.soundness import check_sound

        check_sound(path, open_group(path, asset="ndvi_cube"))
        with open_cube(path, asset="ndvi_cube") as cube:
            days = tuple(str(day) for day in cube["time"].values.astype("datetime64[D]"))
            return cls(path, cube.odc.geobox, days, cube.attrs.get(CHECKSUM_ATTRIBUTE))

    def windows(self, layers: int = 1) -> list[Window]:
        """Return blocks of at most ``_BLOCK_VALUES`` values in so many layers, row by row."""
        rows = min(max(_BLOCK_VALUES // (max(layers, 1) * _EDGE), 64), _EDGE)
        return [
            Window(chunk.row + part.row, chunk.col, part.height, chunk.width)
            for chunk in tiles_of(self.geobox.shape.yx, _EDGE)
            for part in _strips(chunk.height, rows)
        ]

    def read(self, days: slice | int, window: Window) -> NDArray[np.int16]:
        """Return NDVI in steps of 1e-4, (day, y, x), or (y, x) of one day; -32768 = missing."""
        with self._stored() as values:
            return np.asarray(values[(days, *window.slices)], np.int16)

    def thinned(self, day: int, step: int) -> NDArray[np.float32]:
        """Return NDVI (y, x) of a day at every ``step``-th row and column, NaN = missing."""
        with self._stored() as values:
            some = np.asarray(values[day, ::step, ::step], np.int16)
        thinned: NDArray[np.float32] = dequantise_index(some)
        return thinned

    def clearest(self) -> int:
        """Return the number of the day with most values among every eighth row and column."""
        with self._stored() as values:
            shares = [
                np.count_nonzero(np.asarray(values[day, ::8, ::8]) != MISSING)
                for day in range(len(self.days))
            ]
        return int(np.argmax(shares))

    @contextmanager
    def _stored(self) -> Iterator[zarr.Array[Any]]:
        from geo_assets.storage.cubes.days import CHECKSUM_ATTRIBUTE
        from geo_assets.storage.cubes.opening import open_group

        try:
            yield cast("zarr.Array[Any]", open_group(self.path)["ndvi"])
        finally:
            # Asked afterwards: what was read before a change is of the cube that is known.
            if open_group(self.path).attrs.get(CHECKSUM_ATTRIBUTE) != self.checksum:
                msg = f"{self.path}: changed while its labels were made; materialize them again"
                raise StorageError(msg)


@dataclass(frozen=True)
class NdviSeries:
    """NDVI of a cube on a time axis, one feature for each of its steps (``AreaFeatures``)."""

    cube: NdviDays
    every: Every
    max_gap_days: int
    missing: Missing
    period: tuple[str, str]

    def __post_init__(self) -> None:
        """Refuse a cube with days of another period: it was made for other dates."""
        outside = [day for day in self.cube.days if not self.period[0] <= day <= self.period[1]]
        if outside:
            msg = (
                f"{self.cube.path}: holds {outside[0]}, which is not within {self.period[0]} to "
                f"{self.period[1]}; materialize ndvi_cube again"
            )
            raise ClusteringError(msg)

    @property
    def geobox(self) -> GeoBox:
        """Grid of the area."""
        return self.cube.geobox

    @property
    def names(self) -> tuple[str, ...]:
        """First day of each step."""
        axis = time_axis(self._times, self.every, self._ends)
        return tuple(str(step) for step in axis.steps)

    @property
    def units(self) -> tuple[str, ...]:
        """NDVI has none."""
        return ("1",) * len(self.names)

    @property
    def calendar(self) -> tuple[str, ...]:
        """Place of each step in the calendar of any year: months, dekads; of dates the date."""
        if self.every == "date":
            return self.names
        if self.every == "month":
            return tuple(step[5:7] for step in self.names)
        return tuple(f"{step[5:7]}-{int(step[8:]) // 10 + 1}" for step in self.names)

    def step_of(self, day: int) -> int:
        """Return the number of the step that holds a day of the cube."""
        return int(time_axis(self._times, self.every, self._ends).step_of[day])

    def windows(self) -> list[Window]:
        """Return the blocks of the area, row by row."""
        return self.cube.windows(max(len(self.cube.days), len(self.names)))

    def read(self, window: Window) -> FeatureBlock:
        """Read the features of a block.

        With ``fill`` the pixels are valid that have each step in the end; with ``ignore``, those
        that have at least one.
        """
        series = temporal_features(
            self.cube.read(slice(None), window),
            self._times,
            self.every,
            self.max_gap_days,
            self._ends,
            fill=self.missing == "fill",
        )
        present = np.isfinite(series.values)
        known = int(np.count_nonzero(present))
        return FeatureBlock(
            series.values,
            series.complete if self.missing == "fill" else np.asarray(present.any(axis=0)),
            known,
            round(series.filled_share * known),
            round(series.held_share * known),
        )

    @property
    def _times(self) -> NDArray[np.datetime64]:
        return np.array(self.cube.days, "datetime64[D]")

    @property
    def _ends(self) -> tuple[np.datetime64, np.datetime64]:
        return np.datetime64(self.period[0]), np.datetime64(self.period[1])


@dataclass(frozen=True)
class Placed:
    """The features of an area with the place of each pixel as two more (``AreaFeatures``).

    Metres from the area's upper left corner, east and north.
    """

    features: AreaFeatures

    def __post_init__(self) -> None:
        """Refuse a grid whose steps are not of one length on the ground."""
        crs = crs_of(self.features.geobox)
        if not measures_metres(str(crs)):
            msg = f"position_weight: needs a grid in metres, which {crs} is not; set grid.crs"
            raise ClusteringError(msg)

    @property
    def geobox(self) -> GeoBox:
        """Grid of the area."""
        return self.features.geobox

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, then of the place."""
        return self.features.names + POSITIONS

    @property
    def units(self) -> tuple[str, ...]:
        """Of the features, then metres."""
        return (*self.features.units, "m", "m")

    def windows(self) -> list[Window]:
        """Return the blocks of the area, row by row."""
        return self.features.windows()

    def read(self, window: Window) -> FeatureBlock:
        """Read the features of a block, and the middles of its pixels."""
        block = self.features.read(window)
        step = self.geobox.resolution
        east = (window.col + np.arange(window.width) + 0.5) * step.x
        north = (window.row + np.arange(window.height) + 0.5) * step.y
        place = np.stack(np.broadcast_arrays(east[np.newaxis], north[:, np.newaxis]))
        values = np.concatenate([block.values, place.astype(np.float32)])
        return FeatureBlock(values, block.valid, block.known, block.filled, block.held)


def _strips(height: int, rows: int) -> list[Window]:
    return [Window(top, 0, min(rows, height - top), 0) for top in range(0, height, rows)]
