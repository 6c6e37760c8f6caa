"""Chips cut from local composites, which are kept open while chips are read."""

from __future__ import annotations

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
    from geo_assets.storage.rasters.raster_blocks import FileVersion


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
    _opened: dict[Path, RasterBlocks] = field(default_factory=dict)
    _files: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        for composite in self.composites.values():
            blocks = _blocks_of(composite, MOST_BYTES // len(self.composites))
            self._opened[composite.image] = self._files.enter_context(blocks)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.clear()
        self._files.__exit__(kind, error, trace)

    def expect(self, specs: Sequence[ChipSpec]) -> None:
        """Tell which chips will be read, in their order: their blocks are decoded ahead."""
        geoboxes: dict[int, list[GeoBox]] = {cluster: [] for cluster in self.composites}
        for spec in specs:
            if spec.scene_ids:
                geoboxes[spec.cluster].append(spec.geobox)
        for cluster, composite in self.composites.items():
            self._opened[composite.image].expect(geoboxes[cluster])

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
        data, valid = self._opened[composite.image].window(spec.geobox)
        return ChipPixels(data, valid)


def _blocks_of(composite: Composite, most_bytes: int) -> RasterBlocks:
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
