"""Chips cut from local composites: what each is made of, and its pixels."""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import shapely
from shapely.geometry import shape

from geo_assets.core.chip_grid import geobox_of_row
from geo_assets.core.chips import ChipPixels, ChipSpec, NoImagery, recipe_digest
from geo_assets.core.grids import pixel_window
from geo_assets.core.label_band import label_digests
from geo_assets.errors import ReadError, StorageError
from geo_assets.sources.composites import grid_recipe, scene_pin
from geo_assets.sources.scene_order import solar_day
from geo_assets.storage.chip_expectation import PICTURES
from geo_assets.storage.cog import OpenRaster, Raster, open_raster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.composites import CompositeBuilder, Labels, Sidecar
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

    def __exit__(self, *_: object) -> None:
        self._opened.clear()
        self._files.close()

    def specs(self, grid: GeoDataFrame, encoding: ChipEncoding) -> list[ChipSpec]:
        """Return what is wanted: a spec for each row of the chip grid, with its own recipe.

        A recipe holds what decides this chip's pixels and nothing else: its own scenes and
        polygons, so that a new polygon or scene asks only the chips that it meets again.

        Raises:
            StorageError: If a cluster of the grid has no composite.
        """
        geoboxes = [geobox_of_row(row) for row in grid.to_dict("records")]
        digests = self._label_digests(geoboxes)
        scenes = self._scenes_of(grid)
        specs = []
        for chip_id, fold, split, cluster, geobox, digest, items in zip(
            grid["chip_id"],
            grid["fold"],
            grid["split"],
            grid["cluster"],
            geoboxes,
            digests,
            scenes,
            strict=True,
        ):
            builder = self._composite(cluster).builder
            recipe = {
                "source": builder.source.describe(),
                "rules": builder.rules.to_dict(),
                "grid": grid_recipe(geobox),
                "covered": _covered_part(builder.geobox, geobox),
                "scenes": [scene_pin(item) for item in items],
                "labels": digest,
                "encoding": _encoding_recipe(encoding),
            }
            start, end = self._days_of(items)
            specs.append(
                ChipSpec(
                    chip_id=chip_id,
                    fold=fold,
                    split=split,
                    cluster=int(cluster),
                    geobox=geobox,
                    recipe=recipe_digest(recipe),
                    scene_ids=tuple(item["id"] for item in items),
                    start=start,
                    end=end,
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
        height, width = spec.geobox.shape
        for window in composite.sidecar.failed_windows:
            if window.meets(rows.start, cols.start, height, width):
                raise ReadError(
                    f"{window.scene_id}: {window.error}", kind=window.kind, scene_id=window.scene_id
                )
        raster = self._window(composite.image, spec.geobox)
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

    def _scenes_of(self, grid: GeoDataFrame) -> list[list[Item]]:
        """The scenes of its cluster that each chip meets, in order of their ids."""
        found: list[list[Item]] = [[] for _ in range(len(grid))]
        for cluster in sorted(set(grid["cluster"])):
            items = sorted(self._composite(cluster).builder.items, key=lambda item: item["id"])
            rows = (grid["cluster"] == cluster).to_numpy().nonzero()[0]
            tree = shapely.STRtree([shape(item["geometry"]) for item in items])
            chips, scenes = tree.query(grid.geometry.to_numpy()[rows], predicate="intersects")
            for chip, scene in sorted(zip(chips.tolist(), scenes.tolist(), strict=True)):
                found[rows[chip]].append(items[scene])
        return found

    def _days_of(self, items: Sequence[Item]) -> tuple[dt.datetime, dt.datetime]:
        days = sorted(solar_day(item).item() for item in items) or list(self.dates)
        return _midnight(days[0]), _midnight(days[-1])


def _covered_part(area: GeoBox, chip: GeoBox) -> list[int]:
    """Rows and columns of a chip (start, stop, start, stop) that lie within its composite."""
    rows, cols = pixel_window(area, chip)
    return [
        max(-rows.start, 0),
        min(area.shape.y, rows.stop) - rows.start,
        max(-cols.start, 0),
        min(area.shape.x, cols.stop) - cols.start,
    ]


def _encoding_recipe(encoding: ChipEncoding) -> dict[str, Any]:
    """What of the file format decides a chip's bytes; the stretch is in pictures alone."""
    recipe: dict[str, Any] = {"format": encoding.format, "dtype": encoding.dtype}
    if encoding.format in PICTURES and encoding.stretch is not None:
        recipe["stretch"] = [list(values) for values in asdict(encoding.stretch).values()]
    return recipe


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
