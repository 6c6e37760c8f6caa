"""What every source of pixels answers: which scenes there are, and the pixels of them.

Two protocols: a ``RasterSource`` (STAC, a local raster, the simulated archive read as the STAC
catalog it is) gives the pixels of one scene; a ``ServerSource`` (Earth Engine) composes scenes on
the server and answers one chip by one request. Assets ask ``ASSETS_OF_KIND`` which of them a kind
of source can feed. Definitions import this module, so it is light: no rasterio, no numpy, no ee
at run time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from geo_assets.errors import SourceError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.areas import ClusterBox
    from geo_assets.sources.earth_engine.label_table import LabelTable
    from geo_assets.sources.earth_engine.traffic import Traffic
    from geo_assets.sources.rules import CompositeRules
    from geo_assets.storage.chips.expectation import Stretch

Item = dict[str, Any]
"""A STAC item as a dictionary of JSON values, hrefs absolute and unsigned."""

Reason = Literal[
    "cloud",
    "no_overlap",
    "missing_band",
    "damaged",
    "outside_dates",
    "duplicate",
    "superseded",
]
"""Why a scene that was found is not used: too cloudy, elsewhere, lacks a band, cannot be read, of
another day, found twice under its id, or processed again under another id, which is used."""

_AREAS = frozenset({"labels", "aoi_clusters"})
_IMAGES = frozenset({"scenes", "composite_image", "chip_grid", "chip_catalog"})
_COMPOSED_HERE = frozenset({"land_cover_labels"})
CUBES = frozenset(
    {"ndvi_cube", "ndvi_spatial_labels", "ndvi_temporal_labels", "ndvi_label_changes"}
)
"""The cubes and what is made of them."""

ASSETS_OF_KIND: dict[str, frozenset[str]] = {
    "stac": _AREAS | _IMAGES | _COMPOSED_HERE | CUBES,
    "simulated": _AREAS | _IMAGES | _COMPOSED_HERE | CUBES,
    # Of the labels of one date no change can be followed.
    "raster": (_AREAS | _IMAGES | _COMPOSED_HERE | CUBES) - {"ndvi_label_changes"},
    "earth-engine": _AREAS | _IMAGES,
}
"""Names of the assets that each kind of source can feed."""

SERVER_KINDS = frozenset({"earth-engine"})
"""Kinds of sources that are a ``ServerSource``; the others are a ``RasterSource``."""


def supported_assets(kind: str) -> frozenset[str]:
    """Return the names of the assets that a kind of source can feed.

    Raises:
        SourceError: If there is no such kind.
    """
    try:
        return ASSETS_OF_KIND[kind]
    except KeyError:
        raise SourceError(
            f"imagery kind {kind!r} is unknown; allowed are {sorted(ASSETS_OF_KIND)}"
        ) from None


@dataclass(frozen=True)
class SceneQuery:
    """Which scenes are wanted for one cluster."""

    box: ClusterBox
    """The area."""
    start: dt.date
    """First solar day."""
    end: dt.date
    """Last solar day, included."""
    bands: tuple[str, ...]
    """Bands that a scene must offer, by any name that ``band_keys`` understands."""
    max_cloud: float = 100.0
    """Largest ``eo:cloud_cover`` in percent; a scene that states none is kept."""
    scl_band: str | None = None
    """Name of the scene classification, of which a scene may offer one or none."""


@dataclass(frozen=True)
class LeftOut:
    """A scene that was found and is not used."""

    scene_id: str
    """The item's id; where it could not be read, its file, or its place in an API's answer."""
    reason: Reason
    detail: str
    """The reason with its values, for people."""


@dataclass(frozen=True)
class SceneSelection:
    """The scenes to use for one query."""

    items: list[Item]
    """In fixed order: by datetime, then id."""
    left_out: list[LeftOut]
    """In order of id, then reason."""


@dataclass(frozen=True)
class SceneRead:
    """Pixels of one scene on one grid."""

    data: NDArray[Any]
    """(band, y, x), the source's dtype in digital numbers, offset applied. Pixels that are not
    valid hold what the file holds there, and 0 beyond its edge: never use them."""
    valid: NDArray[np.bool_]
    """(y, x), True where every band holds a datum."""
    scl: NDArray[np.uint8] | None
    """(y, x) scene classification, 0 beyond the scene; None if not asked or not offered."""


class Source(Protocol):
    """What both kinds of sources answer about their scenes."""

    @property
    def supports(self) -> frozenset[str]:
        """Names of the assets that this source can feed."""

    @property
    def single_raster(self) -> bool:
        """Whether its grid ends where its one raster ends, so that areas are clipped to it."""

    def describe(self) -> dict[str, Any]:
        """Return what of the source decides pixels, as JSON values for recipes.

        Neither paths nor hosts nor credentials: where a scene was found changes no pixel of it.
        The scenes themselves are pinned by their ids beside this.
        """

    def select(self, query: SceneQuery) -> SceneSelection:
        """Return the scenes to use, and those left out with the reason.

        Raises:
            SourceError: If the catalog cannot be read, or a scene's offset stays undecided.
        """

    def native_geobox(self, item: Item, band: str) -> GeoBox:
        """Return the pixel grid of one band of a scene.

        Raises:
            ReadError: If the scene has no such band, or its file has to be opened and cannot be.
        """


class RasterSource(Source, Protocol):
    """A source whose pixels can be read scene by scene, window by window."""

    def read(
        self, item: Item, bands: Sequence[str], geobox: GeoBox, *, scl_band: str | None = None
    ) -> SceneRead:
        """Return the pixels of a scene on a grid, in arrays that are the caller's own.

        Args:
            item: The scene, as ``select`` gave it.
            bands: Bands in order.
            geobox: The grid; on the scene's own lattice its pixels come unchanged. What is read
                for a window is what is read for any larger grid at that place.
            scl_band: Name of the scene classification to read too, where the scene has it.

        Raises:
            ReadError: If pixels cannot be read; ``kind`` says whether asking again can help.
        """


@dataclass(frozen=True)
class ServerComposite:
    """A composite that exists as an expression: the server evaluates it for each request."""

    expression: str
    """Canonical JSON of the expression, with the scenes pinned by id, on the grid asked for."""
    preview_expression: str
    """The same without a fixed grid, so that a coarse picture of it costs little."""
    bands: tuple[str, ...]
    """Names in order, the label band last where the server burns it."""
    dtype: str
    """numpy's name of the dtype of all bands."""
    label_band: bool
    """Whether the server burns the label band."""

    @property
    def sha256(self) -> str:
        """Checksum of the expression: the composite's data version."""
        return hashlib.sha256(self.expression.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class ServerPixels:
    """Pixels of a server's composite on one grid."""

    data: NDArray[Any]
    """(band, y, x) in the composite's dtype and order of bands; image bands hold the fill of
    their dtype where nothing is valid."""
    valid: NDArray[np.bool_]
    """(y, x), True where every image band holds a datum."""


class ServerSource(Source, Protocol):
    """A source that composes scenes itself and answers one chip by one request."""

    def composite(
        self,
        items: Sequence[Item],
        geobox: GeoBox,
        rules: CompositeRules,
        table: LabelTable | None = None,
    ) -> ServerComposite:
        """Return the expression of a composite; the server is not asked.

        Args:
            items: Scenes, as ``select`` gave them; at least one.
            geobox: Pixel grid of the composite, which ends at its edge.
            rules: Bands, reducer, dtype and which observations count.
            table: Polygons that the server burns as the label band; None: it burns none.

        Raises:
            SourceError: If the rules ask for what the server cannot do.
        """

    def pinned(self, table: LabelTable) -> LabelTable:
        """Return a table with its version, as the server says it.

        Raises:
            SourceError: If there is no such table.
        """

    def read(self, composite: ServerComposite, geobox: GeoBox) -> ServerPixels:
        """Return the pixels of a composite on a grid, by one request.

        Raises:
            ReadError: If they cannot be had; ``kind`` says whether asking again can help.
            SourceError: If nothing can be had any more (expired credentials): ends the run.
        """

    def read_preview(self, composite: ServerComposite, geobox: GeoBox) -> ServerPixels:
        """Return the pixels of ``preview_expression`` on a coarse grid, as ``read``."""

    def read_picture(
        self,
        composite: ServerComposite,
        geobox: GeoBox,
        picture: Literal["png", "jpg"],
        stretch: Stretch,
    ) -> bytes:
        """Return a picture of three image bands on a grid, as the server encodes it.

        Raises:
            ReadError: As ``read``.
        """

    def traffic(self) -> Traffic:
        """Return how many requests were sent, repeated and are under way."""
