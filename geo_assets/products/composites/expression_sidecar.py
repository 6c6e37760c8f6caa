"""The record of a composite that exists as an expression: JSON that a server can evaluate again.

It is all that ``composite_image`` publishes for a server's composite, beside a preview: the pixels
stay where they are. Its checksum is the composite's data version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.core.grids import authority_code, crs_of
from geo_assets.errors import StorageError
from geo_assets.products.composites.sidecar import DTYPE_WITHOUT_PIXELS
from geo_assets.sources.scenes.order import solar_day
from geo_assets.sources.scenes.processing import VERSION
from geo_assets.storage.atomic import publish_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geo_assets.sources.earth_engine.label_table import LabelTable
    from geo_assets.sources.protocol import Item, ServerComposite


@dataclass(frozen=True)
class ExpressionSidecar:
    """What a server's composite is, as it was published.

    Attributes:
        expression: The expression as JSON; None without a scene, when there is nothing to ask.
        preview_expression: The same without a fixed grid.
        sha256: Checksum of the expression's canonical JSON; empty without one.
        bands: Names in order, the label band last where the server burns it.
        dtype: dtype of all bands.
        label_band: Whether the server burns the label band.
        crs: Code of the pixels' CRS.
        transform: Affine transform of the pixels, row by row.
        shape: Rows and columns.
        days: Solar days of its scenes.
        scene_ids: Its scenes.
        versions: What the server calls the state of each scene, and of the table of labels, by id.
        valid_fraction: Share of the preview's pixels with a datum, 0 to 1; None without a preview.
    """

    expression: dict[str, Any] | None
    preview_expression: dict[str, Any] | None
    sha256: str
    bands: tuple[str, ...]
    dtype: str
    label_band: bool
    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int]
    days: tuple[str, ...]
    scene_ids: tuple[str, ...]
    versions: dict[str, str]
    valid_fraction: float | None

    @classmethod
    def of(
        cls,
        composite: ServerComposite | None,
        geobox: GeoBox,
        items: Sequence[Item],
        table: LabelTable | None = None,
    ) -> ExpressionSidecar:
        """Return the record of a composite without a preview; None: it has no scene."""
        versions = {str(item["id"]): str(item["properties"].get(VERSION, "")) for item in items}
        if table is not None:
            versions[table.asset_id] = table.version
        return cls(
            expression=None if composite is None else json.loads(composite.expression),
            preview_expression=(
                None if composite is None else json.loads(composite.preview_expression)
            ),
            sha256="" if composite is None else composite.sha256,
            bands=() if composite is None else composite.bands,
            dtype=DTYPE_WITHOUT_PIXELS if composite is None else composite.dtype,
            label_band=composite is not None and composite.label_band,
            crs=authority_code(crs_of(geobox)),
            transform=tuple(geobox.affine)[:6],
            shape=(geobox.shape.y, geobox.shape.x),
            days=tuple(sorted({str(solar_day(item)) for item in items})),
            scene_ids=tuple(sorted({str(item["id"]) for item in items})),
            versions=versions,
            valid_fraction=None,
        )

    @classmethod
    def read(cls, path: Path) -> ExpressionSidecar | None:
        """Return the record at a path; None if there is none, or none of this version."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            for field in ("bands", "transform", "shape", "days", "scene_ids"):
                values[field] = tuple(values[field])
            return cls(**values)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    @property
    def geobox(self) -> GeoBox:
        """The composite's pixels."""
        return GeoBox(self.shape, Affine(*self.transform), self.crs)

    def is_same_composite(self, other: ExpressionSidecar) -> bool:
        """Whether another record is of the same composite, whatever their previews show."""
        return replace(self, valid_fraction=None) == replace(other, valid_fraction=None)

    def damage(self) -> str | None:
        """Return how the expression differs from the one that was published; None if it is it."""
        if self.expression is None:
            return "it has a checksum and no expression" if self.sha256 else None
        canonical = json.dumps(self.expression, sort_keys=True, separators=(",", ":"))
        if hashlib.sha256(canonical.encode()).hexdigest() != self.sha256:
            return "its checksum is of another expression"
        return None

    def publish(self, path: Path) -> None:
        """Write the record."""
        publish_json(path, asdict(self))

    @classmethod
    def require(cls, path: Path, composite: ServerComposite | None) -> None:
        """Check that the record at a path is that of a composite.

        Raises:
            StorageError: If there is none, or the campaign, scenes or tables have changed since.
        """
        known = cls.read(path)
        if known is None:
            what = "cannot be read" if path.is_file() else "no composite"
            raise StorageError(f"{path.name}: {what}; materialize composite_image first")
        if known.sha256 != ("" if composite is None else composite.sha256):
            raise StorageError(
                f"{path.name}: the campaign or the scenes have changed since it was made; "
                "materialize composite_image first"
            )
