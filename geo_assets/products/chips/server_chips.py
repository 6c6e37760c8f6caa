"""Chips asked of a server that composes scenes itself: one request a chip.

The label band is burned here on the chip's own pixels, unless the server burns it from a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from geo_assets.core.chips import ChipPixels, NoImagery
from geo_assets.core.compositing import fill_value
from geo_assets.core.grids import crs_of
from geo_assets.core.label_band import BACKGROUND, burn_labels, label_digests
from geo_assets.products.chips.specs import (
    ChipArea,
    chip_specs,
    covered_part,
    encoding_recipe,
    geoboxes_of,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.chips import ChipSpec
    from geo_assets.products.composites.builder import Labels
    from geo_assets.sources.earth_engine.label_table import LabelTable
    from geo_assets.sources.protocol import Item, ServerComposite, ServerSource
    from geo_assets.sources.rules import CompositeRules
    from geo_assets.storage.chips.expectation import ChipEncoding, Stretch


@dataclass(frozen=True, eq=False)
class ServerArea:
    """The composite of one cluster.

    Attributes:
        geobox: Its pixels.
        items: Its scenes.
        composite: Its expression; None without a scene.
    """

    geobox: GeoBox
    items: Sequence[Item]
    composite: ServerComposite | None


@dataclass(frozen=True)
class PictureFormat:
    """How a server draws chips that are pictures."""

    format: Literal["png", "jpg"]
    stretch: Stretch


@dataclass(frozen=True, eq=False)
class ServerChips:
    """Asks for the chips of one partition.

    Attributes:
        source: The server.
        areas: By cluster.
        rules: How scenes and polygons become a composite.
        labels: Polygons for the label band.
        table: The table that the server burns the label band from; None: it is burned here.
        dates: First and last day of the composites, for chips without a scene.
        picture: Asked for instead of pixels, where chips are pictures.
    """

    source: ServerSource
    areas: Mapping[int, ServerArea]
    rules: CompositeRules
    labels: Labels
    table: LabelTable | None
    dates: tuple[dt.date, dt.date]
    picture: PictureFormat | None
    _labels_by_crs: dict[str, Labels] = field(default_factory=dict)

    def __enter__(self) -> Self:
        for area in self.areas.values():
            crs = crs_of(area.geobox)
            # Once here, not once a chip in every thread.
            self._labels_by_crs[str(crs)] = self.labels.to_crs(crs.proj)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._labels_by_crs.clear()

    def expect(self, specs: Sequence[ChipSpec]) -> None:
        """Do nothing: each chip is a request of its own."""

    def specs(self, grid: GeoDataFrame, encoding: ChipEncoding) -> list[ChipSpec]:
        """Return what is wanted: a spec for each row of the chip grid, with its own recipe.

        Raises:
            StorageError: If a cluster of the grid has no composite.
        """
        recipe: dict[str, Any] = {
            "source": self.source.describe(),
            "rules": self.rules.to_dict(),
            "encoding": encoding_recipe(encoding),
        }
        if self.table is not None:
            recipe["table"] = self.table.to_dict()
            digests = [""] * len(grid)
        else:
            digests = label_digests(
                self.labels.own, self.labels.other, geoboxes_of(grid), overlap=self.rules.overlap
            )
        areas = {
            cluster: ChipArea(area.geobox, area.items, recipe)
            for cluster, area in self.areas.items()
        }
        return chip_specs(grid, areas, digests, self.dates)

    def read(self, spec: ChipSpec) -> ChipPixels | bytes | NoImagery:
        """Return one chip by one request; beyond the composite's edge it is no-data.

        Raises:
            ReadError: If the server did not give it; ``kind`` says whether asking again can help.
        """
        area = self.areas[spec.cluster]
        if not spec.scene_ids or area.composite is None:
            return NoImagery("no scene meets the chip")
        if self.picture is not None:
            return self.source.read_picture(
                area.composite, spec.geobox, self.picture.format, self.picture.stretch
            )
        pixels = self.source.read(area.composite, spec.geobox)
        data, valid = pixels.data, pixels.valid
        if not area.composite.label_band:
            label = self._label(spec.geobox).astype(data.dtype)
            data = np.concatenate([data, label[np.newaxis]])
        top, bottom, left, right = covered_part(area.geobox, spec.geobox)
        beyond = np.ones(spec.geobox.shape, bool)
        beyond[top:bottom, left:right] = False
        if beyond.any():
            valid = valid & ~beyond
            data[:-1, beyond] = fill_value(data.dtype)
            data[-1, beyond] = BACKGROUND
        return ChipPixels(data, valid)

    def _label(self, geobox: GeoBox) -> NDArray[np.uint8]:
        labels = self._labels_by_crs[str(crs_of(geobox))]
        return burn_labels(
            labels.own,
            labels.other,
            geobox,
            all_touched=self.rules.all_touched,
            overlap=self.rules.overlap,
        )
