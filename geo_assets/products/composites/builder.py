"""Composite images of AOI clusters: built in blocks, and patched where a read failed.

Beside each composite lies a sidecar (JSON) that pins what it was made of: recipe, scenes, days and
``failed_windows``. The pixels of a failed window are no-data and its chips are ``failed``; ``heal``
reads just those windows again. How chips are cut is in ``composite_chips``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.chips import recipe_digest
from geo_assets.core.compositing import fill_value
from geo_assets.core.grids import pixel_window
from geo_assets.core.label_band import burn_labels, label_digest
from geo_assets.core.workers import Threads
from geo_assets.errors import ReadError, SourceError, StorageError
from geo_assets.products.composites.blocks import BlockTask, compose_block
from geo_assets.products.composites.canvas import Canvas, dtypes_differ
from geo_assets.products.composites.healing import HealTask, heal_block
from geo_assets.products.composites.sidecar import DTYPE_WITHOUT_PIXELS, Sidecar
from geo_assets.products.observations import items_meeting, items_observed
from geo_assets.products.recipes import grid_recipe, scene_pins, stated_values
from geo_assets.products.windows import FailedWindow, Window, merge_windows, tiles_of
from geo_assets.sources.rules import CompositeRules
from geo_assets.sources.scenes.order import solar_day
from geo_assets.storage.atomic import publish_json, sha256_of
from geo_assets.storage.rasters.cog import LABEL_BAND, open_raster, write_cog_of_blocks
from geo_assets.storage.rasters.overviews import Plain

__all__ = ["CompositeBuilder", "CompositeRules", "Labels"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

    from geo_assets.core.workers import Workers
    from geo_assets.products.composites.canvas import Part
    from geo_assets.sources.protocol import Item, RasterSource
    from geo_assets.storage.rasters.cog import OpenRaster

BLOCK = 512
"""Pixels a side of the blocks of most files: composites are made of whole ones, which bounds memory
and changes no result."""

STACK_BYTES = 64 * 2**20
"""Bytes of the observations that a block may have at once, unless a single one has more."""


@dataclass(frozen=True)
class Labels:
    """Label polygons of one fold, with a column ``class``; in EPSG:4326 as published.

    Attributes:
        own: Polygons of the split.
        other: Polygons of the fold's other splits, burned as 255.
    """

    own: GeoDataFrame
    other: GeoDataFrame

    def to_crs(self, crs: CRS) -> Labels:
        """Return the polygons in another CRS, for many bands that are burned in it."""
        return Labels(self.own.to_crs(crs), self.other.to_crs(crs))


@dataclass(frozen=True)
class CompositeBuilder:
    """Builds and heals the composite of one cluster.

    Attributes:
        source: Where pixels come from.
        items: Scenes of the cluster, of the composite's dates.
        geobox: The cluster's pixel grid.
        rules: How they are composed.
        labels: Polygons for the label band.
        tags: Attribution and licence, written into the raster.
    """

    source: RasterSource
    items: Sequence[Item]
    geobox: GeoBox
    rules: CompositeRules
    labels: Labels
    tags: Mapping[str, str]

    def recipe(self) -> str:
        """Return the digest of everything that decides the composite's file."""
        items = items_meeting(self.items, self.geobox)
        return recipe_digest(
            {
                "source": self.source.describe(),
                "rules": self.rules.to_dict(),
                "grid": grid_recipe(self.geobox),
                "scenes": scene_pins(items),
                **stated_values(items, self.rules.bands_read),
                "labels": label_digest(
                    self.labels.own, self.labels.other, self.geobox, overlap=self.rules.overlap
                ),
                "tags": dict(self.tags),
            }
        )

    def build(
        self,
        image: Path,
        sidecar: Path,
        progress: Callable[[int, int], None] | None = None,
        workers: Workers | None = None,
    ) -> tuple[Sidecar, str]:
        """Make the composite what it should be, doing no more than that needs.

        Args:
            image: The COG: image bands and the label band last; validity as an internal mask.
            sidecar: Its JSON.
            progress: Told (blocks done, blocks in all).
            workers: Who composes the blocks; None: threads of this process. They change no byte.

        Returns:
            The sidecar and what was done: ``built``, ``healed`` (failed windows could be read now)
            or ``kept`` (already as it should be, or what failed fails still).
        """
        recipe = self.recipe()
        known = Sidecar.read(sidecar)
        if known is None or known.recipe != recipe or not known.describes(image):
            return self._build(image, sidecar, recipe, progress, workers), "built"
        made = self._heal(image, sidecar, known, workers)
        return made, "kept" if made == known else "healed"

    def heal(self, image: Path, sidecar: Path, workers: Workers | None = None) -> Sidecar:
        """Read the failed windows of a published composite again, and only those.

        An image that is not the one of its sidecar (a run was killed between the two, a disk lost
        a block) is built anew. Arguments as for ``build``.

        Raises:
            StorageError: If there is no composite, or one of another recipe.
        """
        recipe = self.recipe()
        known = Sidecar.read(sidecar)
        if known is None:
            raise StorageError(f"{image.name}: no composite; materialize composite_image first")
        if known.recipe != recipe:
            raise StorageError(
                f"{image.name}: the campaign, labels or scenes have changed since it was made; "
                "materialize composite_image first"
            )
        if not known.describes(image):
            return self._build(image, sidecar, recipe, workers=workers)
        return self._heal(image, sidecar, known, workers)

    def _build(
        self,
        image: Path,
        sidecar: Path,
        recipe: str,
        progress: Callable[[int, int], None] | None = None,
        workers: Workers | None = None,
    ) -> Sidecar:
        failed: list[FailedWindow] = []
        parts = self._composed(failed, progress, workers or Threads())
        dtype = self.rules.dtype or DTYPE_WITHOUT_PIXELS
        return self._publish(parts, dtype, failed, (image, sidecar), recipe)

    def _composed(
        self,
        failed: list[FailedWindow],
        progress: Callable[[int, int], None] | None,
        workers: Workers,
    ) -> Iterator[Part]:
        """Yield all blocks of the image, and add to ``failed`` what could not be read of each."""
        blocks = self._blocks()
        made_of_blocks = workers.map(compose_block, (self._task(block) for block in blocks))
        for done, (block, made) in enumerate(zip(blocks, made_of_blocks, strict=True), start=1):
            failed += [window.moved(block.row, block.col) for window in made.failed]
            yield block, made.pixels, made.valid
            if progress is not None:
                progress(done, len(blocks))

    def _blocks(self) -> list[Window]:
        """Return the windows that are composed at a time: whole blocks of the first scene's files.

        Wide rather than high, for files hold blocks row by row; as many pixels as memory allows.
        """
        items = items_meeting(self.items, self.geobox)
        days = len({solar_day(item) for item in items})
        pixel_bytes = max(days * len(self.rules.bands_read) * 2, 1)
        tall = 2 * BLOCK if (2 * BLOCK) ** 2 * pixel_bytes <= STACK_BYTES else BLOCK
        wide = max(STACK_BYTES // (pixel_bytes * tall) // tall, 1) * tall
        return tiles_of(self.geobox.shape.yx, (tall, wide), self._position(items))

    def _position(self, items: Sequence[Item]) -> tuple[int, int]:
        """Return row and column of the grid's upper left within the first scene, if it has one.

        Any will do: it decides how often a block of a file is decoded, and no pixel.
        """
        if not items:
            return 0, 0
        try:
            native = self.source.native_geobox(items[0], self.rules.bands[0])
            rows, cols = pixel_window(native, self.geobox)
        except (ReadError, SourceError):
            return 0, 0
        return rows.start, cols.start

    def _task(self, block: Window) -> BlockTask:
        grid = self.geobox[block.slices]
        items = items_observed(self.items, grid, self.rules.clouds)
        return BlockTask(self.source, items, grid, self.rules)

    def _heal(self, image: Path, sidecar: Path, known: Sidecar, workers: Workers | None) -> Sidecar:
        failed: list[FailedWindow] = []
        healed = self._healed(known.failed_windows, failed, workers or Threads())
        seen: list[tuple[Window, Sequence[Part]]] = []
        for block, patches, changed in healed:
            # What has not changed lies in the image; its patches would only be held.
            seen.append((block, patches if changed else ()))
            if changed:
                break
        else:
            return known
        rest = ((block, patches) for block, patches, _ in healed)
        # Opened around all that publication opens: GDAL's environments of a thread nest.
        with open_raster(image) as raster:
            parts = self._patched(raster, chain(seen, rest))
            return self._publish(parts, known.dtype, failed, (image, sidecar), known.recipe)

    def _healed(
        self, lost: Sequence[FailedWindow], failed: list[FailedWindow], workers: Workers
    ) -> Iterator[tuple[Window, Sequence[Part], bool]]:
        """Yield all blocks, each with patches and whether anything changed, see ``heal_block``.

        What cannot be read still is added to ``failed``, block by block.
        """
        if not lost:
            return
        blocks = self._blocks()
        lost_in = {
            block: tuple(
                part.moved(-block.row, -block.col)
                for window in lost
                if (part := window.within(block))
            )
            for block in blocks
        }
        tasks = (self._heal_task(block, lost_in[block]) for block in blocks if lost_in[block])
        answers = workers.map(heal_block, tasks)
        for block in blocks:
            if not lost_in[block]:
                yield block, (), False
                continue
            made = next(answers)
            failed += [window.moved(block.row, block.col) for window in made.failed]
            yield block, made.patches, made.changed

    def _heal_task(self, block: Window, lost: tuple[FailedWindow, ...]) -> HealTask:
        grid = self.geobox[block.slices]
        names = {window.scene_id for window in lost}
        names |= {item["id"] for item in items_observed(self.items, grid, self.rules.clouds)}
        items = [item for item in self.items if item["id"] in names]
        return HealTask(self.source, items, grid, self.rules, lost)

    def _patched(
        self, raster: OpenRaster, healed: Iterable[tuple[Window, Sequence[Part]]]
    ) -> Iterator[Part]:
        """Yield all blocks of a published image with their patches laid over."""
        for block, patches in healed:
            before = raster.window(self.geobox[block.slices])
            pixels, valid = before.data[:-1], before.valid
            for cell, patch, mask in patches:
                if patch is None or mask is None:
                    continue
                if not valid.any():
                    # Nothing is known of the source's dtype but by the patch.
                    pixels = np.full(pixels.shape, fill_value(patch.dtype), patch.dtype)
                if pixels.dtype != patch.dtype:
                    raise dtypes_differ(pixels.dtype, patch.dtype)
                pixels[:, *cell.slices], valid[cell.slices] = patch, mask
            yield (block, pixels, valid) if valid.any() else (block, None, None)

    def _publish(
        self,
        parts: Iterable[Part],
        dtype: str,
        failed: Sequence[FailedWindow],
        paths: tuple[Path, Path],
        recipe: str,
    ) -> Sidecar:
        """Write image and sidecar; ``failed`` is complete when the last part was taken."""
        image, sidecar = paths
        label = burn_labels(
            self.labels.own,
            self.labels.other,
            self.geobox,
            all_touched=self.rules.all_touched,
            overlap=self.rules.overlap,
        )
        canvas = Canvas(parts, len(self.rules.bands), label, dtype)
        names = (*self.rules.bands, LABEL_BAND)
        write_cog_of_blocks(
            image,
            canvas.blocks(),
            Plain(self.geobox, len(names), canvas.dtype, masked=True, nodata=None),
            band_names=names,
            overviews="nearest",
            tags=dict(self.tags),
        )
        items = items_meeting(self.items, self.geobox)
        rows, cols = self.geobox.shape.yx
        made = Sidecar(
            recipe=recipe,
            shape=(rows, cols),
            dtype=canvas.dtype.name,
            days=tuple(sorted({str(solar_day(item)) for item in items})),
            scene_ids=tuple(sorted({item["id"] for item in items})),
            failed_windows=tuple(merge_windows(failed)),
            valid_fraction=canvas.valid_pixels / (rows * cols),  # 0 says that there is none
            size=image.stat().st_size,
            sha256=sha256_of(image),
        )
        publish_json(sidecar, asdict(made))
        return made
