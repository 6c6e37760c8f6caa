"""Chips cut from local composites, which are kept open while chips are read."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geo_assets.core.chips import ChipPixels, ChipSpec, NoImagery
from geo_assets.core.compositing import fill_value
from geo_assets.core.grids import pixel_window
from geo_assets.core.label_band import BACKGROUND, label_digests
from geo_assets.errors import RETRYABLE, ReadError
from geo_assets.products.chips.specs import (
    ChipArea,
    chip_specs,
    encoding_recipe,
    geoboxes_of,
)
from geo_assets.products.recipes import stated_values
from geo_assets.products.windows import Window
from geo_assets.storage.rasters.raster_blocks import MOST_BYTES, RasterBlocks

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.products.composites.builder import CompositeBuilder, Labels
    from geo_assets.products.composites.sidecar import Sidecar
    from geo_assets.storage.chips.expectation import ChipEncoding
    from geo_assets.storage.file_version import FileVersion


@dataclass(frozen=True)
class Composite:
    """A published composite and what it is made of.

    Attributes:
        builder: Knows its grid, scenes and rules.
        image: Where it lies.
        version: Of the image that the sidecar is of.
        sidecar: What it was made of.
    """

    builder: CompositeBuilder
    image: Path
    version: FileVersion
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
    _opened: dict[int, RasterBlocks] = field(default_factory=dict)
    _expected: dict[int, list[GeoBox]] = field(default_factory=dict)
    _to_come: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as files:
            for blocks in self._opened.values():
                files.push(blocks)
        self._opened.clear()
        self._expected.clear()
        self._to_come.clear()

    def expect(self, specs: Sequence[ChipSpec]) -> None:
        """Tell which chips will be read, each once, in their order, before the first is.

        Their blocks are decoded ahead. A composite is open from its first chip to its last.
        """
        for spec in specs:
            self._to_come[spec.cluster] += 1
            if spec.scene_ids:
                self._expected.setdefault(spec.cluster, []).append(spec.geobox)

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
            StorageError: If the composite is damaged, or was replaced since its sidecar was read.
        """
        try:
            return self._cut(spec)
        finally:
            self._close_after_the_last(spec.cluster)

    def _cut(self, spec: ChipSpec) -> ChipPixels | NoImagery:
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
        data, valid = self._blocks_of(spec.cluster).window(spec.geobox)
        return ChipPixels(data, valid)

    def _blocks_of(self, cluster: int) -> RasterBlocks:
        with self._lock:
            if cluster not in self._opened:
                most_bytes = MOST_BYTES // len(self.composites)
                self._opened[cluster] = _opened_blocks(self.composites[cluster], most_bytes)
                self._opened[cluster].expect(self._expected.get(cluster, ()))
            return self._opened[cluster]

    def _close_after_the_last(self, cluster: int) -> None:
        """Else open files and threads would grow with the number of clusters."""
        with self._lock:
            self._to_come[cluster] -= 1
            blocks = None if self._to_come[cluster] else self._opened.pop(cluster, None)
        if blocks is not None:
            blocks.__exit__(None, None, None)


def _opened_blocks(composite: Composite, most_bytes: int) -> RasterBlocks:
    """Open a composite: no-data holds the fill of its dtype, and background beyond its edge."""
    blocks = RasterBlocks(
        composite.image,
        clean=_fill_image_bands,
        asset="composite_image",
        version=composite.version,
        most_bytes=most_bytes,
    )
    fill = fill_value(blocks.dtype)
    blocks.outside = [*[fill] * (blocks.count - 1), BACKGROUND]
    return blocks


def _fill_image_bands(data: NDArray[np.generic], valid: NDArray[np.bool_]) -> None:
    np.copyto(data[:-1], fill_value(data.dtype), where=~valid)


def _shared_recipe(builder: CompositeBuilder, encoding: ChipEncoding) -> dict[str, Any]:
    """What the recipes of all chips of a cluster have in common."""
    return {
        "source": builder.source.describe(),
        "rules": builder.rules.to_dict(),
        "encoding": encoding_recipe(encoding),
        **stated_values(builder.items, builder.rules.bands_read),
    }
