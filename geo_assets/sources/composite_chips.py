"""Chips cut from local composites: what each is made of, and its pixels."""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely

from geo_assets.core.chip_grid import geobox_of_row
from geo_assets.core.chips import ChipPixels, ChipSpec, NoImagery, recipe_digest
from geo_assets.core.compositing import fill_value
from geo_assets.core.grids import pixel_window
from geo_assets.core.label_band import BACKGROUND, label_digests
from geo_assets.errors import RETRYABLE, ReadError, StorageError
from geo_assets.sources.observations import footprint_of
from geo_assets.sources.recipes import grid_recipe, scene_pins
from geo_assets.sources.scene_order import solar_day
from geo_assets.sources.windows import Window
from geo_assets.storage.chip_expectation import PICTURES
from geo_assets.storage.cog import OpenRaster, Raster, open_raster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.composite_sidecar import Sidecar
    from geo_assets.sources.composites import CompositeBuilder, Labels
    from geo_assets.sources.protocol import Item
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

        A recipe holds what decides this chip's pixels and nothing else: its own scenes and
        polygons, so that a new polygon or scene asks only the chips that it meets again.

        Raises:
            StorageError: If a cluster of the grid has no composite.
        """
        geoboxes = [geobox_of_row(row) for row in grid.to_dict("records")]
        digests = self._label_digests(geoboxes)
        clusters = [int(cluster) for cluster in grid["cluster"]]
        shared = {cluster: self._shared_recipe(cluster, encoding) for cluster in set(clusters)}
        specs = []
        for chip_id, fold, split, cluster, geobox, digest, scenes in zip(
            grid["chip_id"],
            grid["fold"],
            grid["split"],
            clusters,
            geoboxes,
            digests,
            self._scenes_of(grid),
            strict=True,
        ):
            recipe = shared[cluster] | {
                "grid": grid_recipe(geobox),
                "covered": _covered_part(self._composite(cluster).builder.geobox, geobox),
                "scenes": scene_pins(scene.item for scene in scenes),
                "labels": digest,
            }
            days = [scene.day for scene in scenes] or list(self.dates)
            specs.append(
                ChipSpec(
                    chip_id=chip_id,
                    fold=fold,
                    split=split,
                    cluster=cluster,
                    geobox=geobox,
                    recipe=recipe_digest(recipe),
                    scene_ids=tuple(scene.item["id"] for scene in scenes),
                    start=_midnight(min(days)),
                    end=_midnight(max(days)),
                )
            )
        return specs

    def read(self, spec: ChipSpec) -> ChipPixels | NoImagery:
        """Return the pixels of one chip; beyond the composite's edge they are no-data.

        Raises:
            ReadError: If the chip meets a window that could not be read from its scene.
        """
        composite = self._composite(spec.cluster)
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
        top, bottom, left, right = _covered_part(composite.builder.geobox, spec.geobox)
        beyond = np.ones(spec.geobox.shape, bool)
        beyond[top:bottom, left:right] = False
        raster.data[-1, beyond] = BACKGROUND
        return ChipPixels(raster.data, raster.valid)

    def _window(self, image: Path, geobox: GeoBox) -> Raster:
        """Read a window of a composite, which stays open: opening costs ten times a window."""
        # A GDAL handle serves one thread at a time; encoding and writing go on beside it.
        with self._lock:
            return self._opened[image].window(geobox)

    def _composite(self, cluster: int) -> Composite:
        try:
            return self.composites[int(cluster)]
        except KeyError:
            raise StorageError(
                f"chip_grid names cluster {cluster}, which has no composite now; "
                "materialize composite_image and chip_grid first"
            ) from None

    def _label_digests(self, geoboxes: Sequence[GeoBox]) -> list[str]:
        if not self.composites:
            return []
        rules = next(iter(self.composites.values())).builder.rules
        return label_digests(self.labels.own, self.labels.other, geoboxes, overlap=rules.overlap)

    def _shared_recipe(self, cluster: int, encoding: ChipEncoding) -> dict[str, Any]:
        """What the recipes of all chips of a cluster have in common."""
        builder = self._composite(cluster).builder
        return {
            "source": builder.source.describe(),
            "rules": builder.rules.to_dict(),
            "encoding": _encoding_recipe(encoding),
        }

    def _scenes_of(self, grid: GeoDataFrame) -> list[list[_Scene]]:
        """The scenes of its cluster that each chip may show, in order of their ids."""
        found: list[list[_Scene]] = [[] for _ in range(len(grid))]
        for cluster in sorted(set(grid["cluster"])):
            items = sorted(self._composite(cluster).builder.items, key=lambda item: item["id"])
            scenes = [_Scene(item, solar_day(item).item()) for item in items]
            rows = (grid["cluster"] == cluster).to_numpy().nonzero()[0]
            tree = shapely.STRtree([footprint_of(item) for item in items])
            met = tree.query(grid.geometry.to_numpy()[rows], predicate="intersects")
            for chip, scene in sorted(met.T.tolist()):
                found[rows[chip]].append(scenes[scene])
        return found


@dataclass(frozen=True)
class _Scene:
    """A scene and its solar day, which is costly to find for each chip anew."""

    item: Item
    day: dt.date


def _covered_part(area: GeoBox, chip: GeoBox) -> list[int]:
    """Rows and columns of a chip (start, stop, start, stop) that lie within its composite."""
    rows, cols = pixel_window(chip, area)
    top, bottom = np.clip((rows.start, rows.stop), 0, chip.shape.y)
    left, right = np.clip((cols.start, cols.stop), 0, chip.shape.x)
    return [int(top), int(bottom), int(left), int(right)]


def _encoding_recipe(encoding: ChipEncoding) -> dict[str, Any]:
    """What of the file format decides a chip's bytes; the stretch is in pictures alone."""
    recipe: dict[str, Any] = {"format": encoding.format, "dtype": encoding.dtype}
    if encoding.format in PICTURES and encoding.stretch is not None:
        recipe["stretch"] = [list(values) for values in asdict(encoding.stretch).values()]
    return recipe


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
