"""Composite images of AOI clusters: built in blocks, patched where a read failed, cut into chips.

Beside each composite lies a sidecar (JSON) that pins what it was made of: recipe, scenes, days and
``failed_windows``. The pixels of a failed window are no-data and its chips are ``failed``; ``heal``
reads just those windows again.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.chips import recipe_digest
from geo_assets.core.compositing import fill_value, reduce_stack
from geo_assets.core.label_band import Overlap, burn_labels, label_digest
from geo_assets.errors import StorageError
from geo_assets.sources.observations import (
    CloudRules,
    FailedWindow,
    items_meeting,
    merge_windows,
    observe,
)
from geo_assets.storage.atomic import publish_json, sha256_of
from geo_assets.storage.cog import LABEL_BAND, read_cog, write_cog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.protocol import Item, RasterSource

BLOCK = 512
"""Pixels a side of the blocks in which a composite is built: bounds memory, not results."""


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
    """

    bands: tuple[str, ...]
    reducer: str
    dtype: str | None
    clouds: CloudRules
    all_touched: bool
    overlap: Overlap

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON values, for recipes."""
        return asdict(self) | {"bands": list(self.bands), "clouds": self.clouds.to_dict()}


@dataclass(frozen=True)
class Labels:
    """Label polygons of one fold, in EPSG:4326 with a column ``class``.

    Attributes:
        own: Polygons of the split.
        other: Polygons of the fold's other splits, burned as 255.
    """

    own: GeoDataFrame
    other: GeoDataFrame


@dataclass(frozen=True)
class Sidecar:
    """What a published composite was made of."""

    recipe: str
    shape: tuple[int, int]
    dtype: str
    days: tuple[str, ...]
    scene_ids: tuple[str, ...]
    failed_windows: tuple[FailedWindow, ...]
    valid_fraction: float
    size: int
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Sidecar | None:
        """Return the sidecar at a path, or None if there is none."""
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        values["failed_windows"] = tuple(FailedWindow(**w) for w in values["failed_windows"])
        for field in ("shape", "days", "scene_ids"):
            values[field] = tuple(values[field])
        return cls(**values)

    def describes(self, image: Path) -> bool:
        """Whether the image is the very file that the sidecar was written for."""
        return (
            image.is_file()
            and image.stat().st_size == self.size
            and sha256_of(image) == self.sha256
        )


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
        """Return the digest of everything that decides the composite's pixels."""
        return recipe_digest(
            {
                "source": self.source.describe(),
                "rules": self.rules.to_dict(),
                "grid": grid_recipe(self.geobox),
                "scenes": [scene_pin(item) for item in self._items_here()],
                "labels": label_digest(
                    self.labels.own, self.labels.other, self.geobox, overlap=self.rules.overlap
                ),
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
            The sidecar and what was done: ``built``, ``healed`` (some failed windows were read
            again) or ``kept`` (already as it should be).
        """
        known = Sidecar.read(sidecar)
        if known is None or known.recipe != self.recipe() or not known.describes(image):
            return self._build(image, sidecar, progress), "built"
        if known.failed_windows:
            return self._heal(image, sidecar, known), "healed"
        return known, "kept"

    def heal(self, image: Path, sidecar: Path) -> Sidecar:
        """Read the failed windows of a published composite again, and only those.

        Raises:
            StorageError: If the composite is absent, damaged or of another recipe.
        """
        known = Sidecar.read(sidecar)
        if known is None or not image.is_file():
            raise StorageError(f"{image.name}: no composite; materialize composite_image first")
        if known.recipe != self.recipe():
            raise StorageError(
                f"{image.name}: the campaign, labels or scenes have changed since it was made; "
                "materialize composite_image first"
            )
        return self._heal(image, sidecar, known) if known.failed_windows else known

    def _items_here(self) -> list[Item]:
        return items_meeting(self.items, self.geobox)

    def _build(
        self, image: Path, sidecar: Path, progress: Callable[[int, int], None] | None
    ) -> Sidecar:
        rows, cols = self.geobox.shape
        blocks = [
            (slice(row, min(row + BLOCK, rows)), slice(col, min(col + BLOCK, cols)))
            for row in range(0, rows, BLOCK)
            for col in range(0, cols, BLOCK)
        ]
        canvas = _Canvas.blank((rows, cols), len(self.rules.bands))
        for done, block in enumerate(blocks, start=1):
            self._compose(canvas, block)
            if progress is not None:
                progress(done, len(blocks))
        return self._publish(canvas, image, sidecar)

    def _heal(self, image: Path, sidecar: Path, known: Sidecar) -> Sidecar:
        raster = read_cog(image)
        canvas = _Canvas(raster.data[:-1], raster.valid, set(known.days), [])
        # Clouds of what is read now may reach beyond it, as far as clouds are grown.
        margin = round(self.rules.clouds.dilate_m / abs(self.geobox.resolution.x))
        windows = [window.grown(margin, known.shape) for window in known.failed_windows]
        for cell in _cells_of(windows):
            self._compose(canvas, cell)
        return self._publish(canvas, image, sidecar)

    def _compose(self, canvas: _Canvas, block: tuple[slice, slice]) -> None:
        """Fill one block of the canvas."""
        seen = observe(
            self.source, self.items, self.rules.bands, self.geobox[block], self.rules.clouds
        )
        pixels, valid, _ = reduce_stack(
            seen.data, seen.valid, reducer=self.rules.reducer, dtype=self.rules.dtype
        )
        failed = [window.moved(block[0].start, block[1].start) for window in seen.failed]
        for window in failed:
            # A median over the dates that happened to be readable would look right and be another.
            rows = slice(window.row - block[0].start, window.row - block[0].start + window.height)
            cols = slice(window.col - block[1].start, window.col - block[1].start + window.width)
            valid[rows, cols] = False
        pixels[:, ~valid] = fill_value(pixels.dtype)
        canvas.put(block, pixels, valid, failed, seen.days)

    def _publish(self, canvas: _Canvas, image: Path, sidecar: Path) -> Sidecar:
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
        made = Sidecar(
            recipe=self.recipe(),
            shape=(self.geobox.shape.y, self.geobox.shape.x),
            dtype=data.dtype.name,
            days=tuple(sorted(canvas.days)),
            scene_ids=tuple(sorted({item["id"] for item in self._items_here()})),
            failed_windows=tuple(merge_windows(canvas.failed)),
            valid_fraction=round(float(canvas.valid.mean()), 6),
            size=image.stat().st_size,
            sha256=sha256_of(image),
        )
        publish_json(sidecar, asdict(made))
        return made


@dataclass
class _Canvas:
    """The composite while it is being filled, block by block."""

    data: NDArray[Any] | None
    valid: NDArray[np.bool_]
    days: set[str]
    failed: list[FailedWindow]
    bands: int = 0

    @classmethod
    def blank(cls, shape: tuple[int, int], bands: int) -> _Canvas:
        return cls(None, np.zeros(shape, bool), set(), [], bands)

    def put(
        self,
        block: tuple[slice, slice],
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        failed: Sequence[FailedWindow],
        days: NDArray[np.datetime64],
    ) -> None:
        if self.data is None or (not self.valid.any() and self.data.dtype != pixels.dtype):
            self.data = np.full(
                (len(pixels), *self.valid.shape), fill_value(pixels.dtype), pixels.dtype
            )
        self.data[(slice(None), *block)] = pixels
        self.valid[block] = valid
        self.failed.extend(failed)
        self.days.update(str(day) for day in days)

    def pixels(self) -> NDArray[Any]:
        if self.data is None:
            return np.zeros((self.bands, *self.valid.shape), np.uint16)
        return self.data


def _cells_of(windows: Sequence[FailedWindow]) -> list[tuple[slice, slice]]:
    """Return disjoint rectangles that cover the windows and nothing else."""
    rows = sorted({edge for w in windows for edge in (w.row, w.row + w.height)})
    cols = sorted({edge for w in windows for edge in (w.col, w.col + w.width)})
    return [
        (slice(top, bottom), slice(left, right))
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(cols)
        if any(w.meets(top, left, bottom - top, right - left) for w in windows)
    ]


def scene_pin(item: Item) -> list[str]:
    """What identifies the pixels of a scene: its id and processing baseline."""
    return [item["id"], str(item["properties"].get("s2:processing_baseline", ""))]


def grid_recipe(geobox: GeoBox) -> dict[str, Any]:
    """A grid as JSON values: CRS, transform, shape."""
    return {
        "crs": str(geobox.crs),
        "transform": [round(value, 9) for value in geobox.affine[:6]],
        "shape": list(geobox.shape),
    }
