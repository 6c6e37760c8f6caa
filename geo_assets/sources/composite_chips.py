"""Chips cut from local composites, which are kept open while chips are read."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geo_assets.core.chips import ChipPixels, ChipSpec, NoImagery
from geo_assets.core.compositing import fill_value
from geo_assets.core.grids import pixel_window
from geo_assets.core.label_band import BACKGROUND, label_digests
from geo_assets.errors import RETRYABLE, ReadError
from geo_assets.sources.chip_specs import (
    ChipArea,
    chip_specs,
    covered_part,
    encoding_recipe,
    geoboxes_of,
)
from geo_assets.sources.windows import Window
from geo_assets.storage.cog import OpenRaster, Raster, open_raster

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.composite_sidecar import Sidecar
    from geo_assets.sources.composites import CompositeBuilder, Labels
    from geo_assets.storage.chip_expectation import ChipEncoding


@dataclass(frozen=True)
class Composite:
    """A published composite and what it is made of."""

    builder: CompositeBuilder
    image: Path
    sidecar: Sidecar


@dataclass(frozen=True, eq=False)
class CompositeChips:
    """Cuts the chips of one partition from its composites; open (``with``) while chips are read.

    Attributes:
        composites: By cluster.
        labels: The polygons burned into them.
        dates: First and last day of the composites, for chips without a scene.
    """

    composites: Mapping[int, Composite]
    labels: Labels
    dates: tuple[dt.date, dt.date]
    _opened: dict[Path, OpenRaster] = field(default_factory=dict)
    _files: ExitStack = field(default_factory=ExitStack)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        for composite in self.composites.values():
            # Opened and closed by the same thread: GDAL's environment belongs to a thread.
            raster = open_raster(composite.image, asset="composite_image")
            self._opened[composite.image] = self._files.enter_context(raster)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.clear()
        # Told of the error, so that one of GDAL leaves as the StorageError that names the file.
        self._files.__exit__(kind, error, trace)

    def specs(self, grid: GeoDataFrame, encoding: ChipEncoding) -> list[ChipSpec]:
        """Return what is wanted: a spec for each row of the chip grid, with its own recipe.

        Raises:
            StorageError: If a cluster of the grid has no composite.
        """
        areas = {
            cluster: ChipArea(
                composite.builder.geobox,
                composite.builder.items,
                _shared_recipe(composite.builder, encoding),
            )
            for cluster, composite in self.composites.items()
        }
        digests: list[str] = []
        if areas:
            rules = next(iter(self.composites.values())).builder.rules
            digests = label_digests(
                self.labels.own, self.labels.other, geoboxes_of(grid), overlap=rules.overlap
            )
        return chip_specs(grid, areas, digests, self.dates)

    def read(self, spec: ChipSpec) -> ChipPixels | NoImagery:
        """Return the pixels of one chip; beyond the composite's edge they are no-data.

        Raises:
            ReadError: If the chip meets a window that could not be read from its scene.
        """
        composite = self.composites[spec.cluster]
        if not spec.scene_ids:
            return NoImagery("no scene meets the chip")
        rows, cols = pixel_window(composite.builder.geobox, spec.geobox)
        place = Window(rows.start, cols.start, *spec.geobox.shape)
        met = [window for window in composite.sidecar.failed_windows if window.meets(place)]
        if met:
            # What may pass comes first: as long as there is some, asking again helps.
            first = min(met, key=lambda window: window.kind not in RETRYABLE)
            raise ReadError(first.error, kind=first.kind, scene_id=first.scene_id)
        raster = self._window(composite.image, spec.geobox)
        raster.data[:-1, ~raster.valid] = fill_value(raster.data.dtype)
        top, bottom, left, right = covered_part(composite.builder.geobox, spec.geobox)
        beyond = np.ones(spec.geobox.shape, bool)
        beyond[top:bottom, left:right] = False
        raster.data[-1, beyond] = BACKGROUND
        return ChipPixels(raster.data, raster.valid)

    def _window(self, image: Path, geobox: GeoBox) -> Raster:
        """Read a window of a composite, which stays open: opening costs ten times a window."""
        # A GDAL handle serves one thread at a time; encoding and writing go on beside it.
        with self._lock:
            return self._opened[image].window(geobox)


def _shared_recipe(builder: CompositeBuilder, encoding: ChipEncoding) -> dict[str, Any]:
    """What the recipes of all chips of a cluster have in common."""
    return {
        "source": builder.source.describe(),
        "rules": builder.rules.to_dict(),
        "encoding": encoding_recipe(encoding),
    }
