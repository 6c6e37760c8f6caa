"""What every source of pixels answers: which scenes there are, and the pixels of one of them.

Definitions import this module, so it is light: no rasterio, no numpy at run time. Implementations
are in ``stac`` and ``local_raster``; the simulated archive is read as the STAC catalog it is.

Room for Earth Engine: its pixels stay on the server, where an expression is evaluated once for
each request. It will not be a ``RasterSource`` but a second protocol beside it, ``ServerSource``:
``describe`` and ``select`` as here, ``composite(items, bands, reducer, box)`` that returns an
expression and the GeoBox of its native grid, and ``read_chip(expression, geobox)`` that answers
one chip by one request. Assets ask ``ASSETS_OF_KIND`` which of them a kind of source can feed.
"""

from __future__ import annotations

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

Item = dict[str, Any]
"""A STAC item as a dictionary of JSON values, hrefs absolute and unsigned."""

Reason = Literal["cloud", "no_overlap", "missing_band", "damaged", "outside_dates", "duplicate"]
"""Why a scene that was found is not used."""

_AREAS = frozenset({"labels", "aoi_clusters"})
_IMAGES = frozenset({"scenes", "composite_image", "chip_grid", "chip_catalog"})
_CUBES = frozenset({"ndvi_cube", "ndvi_spatial_labels", "ndvi_temporal_labels"})

ASSETS_OF_KIND: dict[str, frozenset[str]] = {
    "stac": _AREAS | _IMAGES | _CUBES,
    "simulated": _AREAS | _IMAGES | _CUBES,
    "raster": _AREAS | _IMAGES | _CUBES,
    "earth-engine": _AREAS | _IMAGES,
}
"""Names of the assets that each kind of source can feed."""


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


@dataclass(frozen=True)
class LeftOut:
    """A scene that was found and is not used."""

    scene_id: str
    """The item's id, or its file where it could not be read."""
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


class RasterSource(Protocol):
    """A source whose pixels can be read window by window."""

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

    def read(
        self, item: Item, bands: Sequence[str], geobox: GeoBox, *, scl_band: str | None = None
    ) -> SceneRead:
        """Return the pixels of a scene on a grid.

        Args:
            item: The scene, as ``select`` gave it.
            bands: Bands in order.
            geobox: The grid; on the scene's own lattice its pixels come unchanged. What is read
                for a window is what is read for any larger grid at that place.
            scl_band: Name of the scene classification to read too, where the scene has it.

        Raises:
            ReadError: If pixels cannot be read; ``kind`` says whether asking again can help.
        """
