"""Composite images of AOI clusters: built in blocks, and patched where a read failed.

Beside each composite lies a sidecar (JSON) that pins what it was made of: recipe, scenes, days and
``failed_windows``. The pixels of a failed window are no-data and its chips are ``failed``; ``heal``
reads just those windows again. How chips are cut is in ``composite_chips``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.chips import recipe_digest
from geo_assets.core.compositing import fill_value, reduce_stack
from geo_assets.core.label_band import Overlap, burn_labels, label_digest
from geo_assets.core.observation_choice import MaxNdvi
from geo_assets.core.reducers import Percentile
from geo_assets.errors import GeoAssetsError, ReadError, StorageError
from geo_assets.sources.band_keys import bands_of_ndvi
from geo_assets.sources.canvas import Canvas
from geo_assets.sources.composite_sidecar import DTYPE_WITHOUT_PIXELS, Sidecar
from geo_assets.sources.observations import (
    BLOCK,
    CloudRules,
    failed_window,
    items_meeting,
    observe,
)
from geo_assets.sources.recipes import grid_recipe, scene_pins
from geo_assets.sources.scene_order import solar_day
from geo_assets.sources.windows import (
    FailedWindow,
    Window,
    disjoint_windows,
    merge_windows,
    tiles_of,
)
from geo_assets.storage.atomic import publish_json, sha256_of
from geo_assets.storage.cog import LABEL_BAND, read_cog, write_cog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

    from geo_assets.core.reducers import Reducer
    from geo_assets.sources.protocol import Item, RasterSource


@dataclass(frozen=True)
class CompositeRules:
    """How observations and polygons become a composite.

    Attributes:
        bands: Image bands in order.
        reducer: Name of the reducer over days.
        dtype: dtype of the image bands; None: that of the source.
        clouds: Which observations count.
        all_touched: Whether every pixel that a label polygon touches is burned.
        overlap: Which class wins where polygons overlap.
        percentile: Which one, for the reducer ``percentile``.
    """

    bands: tuple[str, ...]
    reducer: str
    dtype: str | None
    clouds: CloudRules
    all_touched: bool
    overlap: Overlap
    percentile: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON values, for recipes."""
        rules = asdict(self) | {"bands": list(self.bands), "clouds": self.clouds.to_dict()}
        if self.percentile is None:
            del rules["percentile"]  # recipes stay those of composites that are published
        return rules

    @property
    def bands_read(self) -> tuple[str, ...]:
        """The image bands, and then those that only the reducer looks at."""
        chosen_by = bands_of_ndvi(self.bands) if self.reducer == "max-ndvi" else ()
        return tuple(dict.fromkeys((*self.bands, *chosen_by)))

    def reduction(self) -> str | Reducer:
        """Return the reducer of stacks of ``bands_read``, as ``reduce_stack`` takes it.

        Raises:
            GeoAssetsError: If the percentile is not stated.
        """
        if self.reducer == "percentile":
            if self.percentile is None:
                raise GeoAssetsError("percentile: not stated; allowed: 0 to 100")
            return Percentile(self.percentile)
        if self.reducer == "max-ndvi":
            red, nir = (self.bands_read.index(band) for band in bands_of_ndvi(self.bands))
            return MaxNdvi(red, nir)
        return self.reducer


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
        return recipe_digest(
            {
                "source": self.source.describe(),
                "rules": self.rules.to_dict(),
                "grid": grid_recipe(self.geobox),
                "scenes": scene_pins(items_meeting(self.items, self.geobox)),
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
    ) -> tuple[Sidecar, str]:
        """Make the composite what it should be, doing no more than that needs.

        Args:
            image: The COG: image bands and the label band last; validity as an internal mask.
            sidecar: Its JSON.
            progress: Told (blocks done, blocks in all).

        Returns:
            The sidecar and what was done: ``built``, ``healed`` (failed windows could be read now)
            or ``kept`` (already as it should be, or what failed fails still).
        """
        recipe = self.recipe()
        known = Sidecar.read(sidecar)
        if known is None or known.recipe != recipe or not known.describes(image):
            return self._build(image, sidecar, recipe, progress), "built"
        made = self._heal(image, sidecar, known)
        return made, "kept" if made == known else "healed"

    def heal(self, image: Path, sidecar: Path) -> Sidecar:
        """Read the failed windows of a published composite again, and only those.

        An image that is not the one of its sidecar (a run was killed between the two, a disk lost
        a block) is built anew.

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
            return self._build(image, sidecar, recipe)
        return self._heal(image, sidecar, known)

    def _build(
        self,
        image: Path,
        sidecar: Path,
        recipe: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> Sidecar:
        canvas = Canvas(
            self.geobox.shape.yx, len(self.rules.bands), self.rules.dtype or DTYPE_WITHOUT_PIXELS
        )
        blocks = tiles_of(self.geobox.shape.yx, BLOCK)
        for done, block in enumerate(blocks, start=1):
            self._compose(canvas, block)
            if progress is not None:
                progress(done, len(blocks))
        return self._publish(canvas, image, sidecar, recipe)

    def _heal(self, image: Path, sidecar: Path, known: Sidecar) -> Sidecar:
        if not known.failed_windows:
            return known
        raster = read_cog(image)
        canvas = Canvas(known.shape, len(self.rules.bands), known.dtype)
        if raster.valid.any():
            canvas.put(Window(0, 0, *known.shape), raster.data[:-1], raster.valid)
        for block in tiles_of(known.shape, BLOCK):
            lost = [part for window in known.failed_windows if (part := window.within(block))]
            absent = [window for window in lost if window.kind == "permanent"]
            passing = [window for window in lost if window.kind != "permanent"]
            still = [again for window in absent if (again := self._asked_again(window))]
            gone = [window for window in still if window.kind == "permanent"]
            for cell in disjoint_windows(gone):
                canvas.failed += [part for window in still if (part := window.within(cell))]
                parts = [part for window in passing if (part := window.within(cell))]
                canvas.failed += [again for part in parts if (again := self._asked_again(part))]
            for cell in disjoint_windows(lost, without=gone):
                self._compose(canvas, cell)
        if tuple(merge_windows(canvas.failed)) == known.failed_windows:
            return known
        return self._publish(canvas, image, sidecar, known.recipe)

    def _asked_again(self, window: FailedWindow) -> FailedWindow | None:
        """Read a window of its scene alone; None if that goes now, else why it does not.

        A scene that is gone is asked first: while it is, its window stays as it is, and reading
        all other scenes there would be in vain.
        """
        item = next(item for item in self.items if item["id"] == window.scene_id)
        geobox = self.geobox[window.slices]
        try:
            self.source.read(item, self.rules.bands_read, geobox, scl_band=self.rules.clouds.band)
        except ReadError as error:
            return failed_window(window, item, error)
        return None

    def _compose(self, canvas: Canvas, block: Window) -> None:
        """Fill one block of the canvas."""
        seen = observe(
            self.source,
            self.items,
            self.rules.bands_read,
            self.geobox[block.slices],
            self.rules.clouds,
        )
        canvas.failed += [window.moved(block.row, block.col) for window in seen.failed]
        if not len(seen.days):
            return
        pixels, valid, _ = reduce_stack(
            seen.data, seen.valid, self.rules.reduction(), self.rules.dtype
        )
        pixels = pixels[: len(self.rules.bands)]
        for window in seen.failed:
            # A median over the dates that happened to be readable would look right and be another.
            valid[window.slices] = False
            pixels[:, *window.slices] = fill_value(pixels.dtype)
        canvas.put(block, pixels, valid)

    def _publish(self, canvas: Canvas, image: Path, sidecar: Path, recipe: str) -> Sidecar:
        label = burn_labels(
            self.labels.own,
            self.labels.other,
            self.geobox,
            all_touched=self.rules.all_touched,
            overlap=self.rules.overlap,
        )
        data = canvas.pixels()
        write_cog(
            image,
            np.concatenate([data, label[np.newaxis].astype(data.dtype)]),
            self.geobox,
            valid=canvas.valid,
            band_names=(*self.rules.bands, LABEL_BAND),
            overviews="nearest",
            tags=dict(self.tags),
        )
        items = items_meeting(self.items, self.geobox)
        made = Sidecar(
            recipe=recipe,
            shape=(self.geobox.shape.y, self.geobox.shape.x),
            dtype=data.dtype.name,
            days=tuple(sorted({str(solar_day(item)) for item in items})),
            scene_ids=tuple(sorted({item["id"] for item in items})),
            failed_windows=tuple(merge_windows(canvas.failed)),
            valid_fraction=round(float(canvas.valid.mean()), 6),
            size=image.stat().st_size,
            sha256=sha256_of(image),
        )
        publish_json(sidecar, asdict(made))
        return made
