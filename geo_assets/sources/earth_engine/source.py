"""Earth Engine as a source: scenes of an image collection, composed by the service.

Expressions are in ``expressions``, what travels in ``pixels``, how it travels in ``session`` and
``caller``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.earth_engine import expressions
from geo_assets.sources.earth_engine.expressions import FORM, LABEL, CloudScoreRules, SceneRules
from geo_assets.sources.earth_engine.images import geobox_of_band, item_of, with_bands
from geo_assets.sources.earth_engine.pixels import answered, request_body
from geo_assets.sources.earth_engine.sizes import check_request
from geo_assets.sources.earth_engine.thumbnails import (
    thumbnail_body,
    thumbnail_name,
    whole_picture,
)
from geo_assets.sources.protocol import ServerComposite, supported_assets
from geo_assets.sources.scenes.selection import choose_scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from odc.geo.geobox import GeoBox

    from geo_assets.sources.earth_engine.label_table import LabelTable
    from geo_assets.sources.earth_engine.session import Session
    from geo_assets.sources.earth_engine.traffic import Traffic
    from geo_assets.sources.protocol import Item, SceneQuery, SceneSelection, ServerPixels
    from geo_assets.sources.rules import CompositeRules
    from geo_assets.storage.chips.expectation import Stretch

T = TypeVar("T")

PAGE = 500
"""Images that are listed at once; the service ends lists of more than 5,000."""
CONFIRMATIONS = 6
"""Answers of which two must be alike before a chip is given up."""


@dataclass(frozen=True)
class EarthEngineRules:
    """What is asked of the service.

    Attributes:
        collection: Id of the image collection.
        cadence: Only images whose property ``cadence`` is this; None: all.
        cloud_score: Cloud Score+; None: not asked.
        resampling: How scenes off the grid's lattice are sampled.
        confirm: Whether a chip counts only when two answers to it are alike.
    """

    collection: str
    cadence: str | None = None
    cloud_score: CloudScoreRules | None = None
    resampling: str = "nearest"
    confirm: bool = False


@dataclass(frozen=True)
class EarthEngineSource:
    """A ``ServerSource``: Earth Engine, or any service that speaks its protocol."""

    rules: EarthEngineRules
    session: Session
    single_raster: bool = False

    @property
    def supports(self) -> frozenset[str]:
        """Names of the assets that this source can feed."""
        return supported_assets("earth-engine")

    def describe(self) -> dict[str, Any]:
        """Return what of the source decides pixels: neither host nor project nor credentials."""
        score = self.rules.cloud_score
        return {
            "kind": "earth-engine",
            "form": FORM,
            "collection": self.rules.collection,
            "cadence": self.rules.cadence,
            "cloud_score": None if score is None else asdict(score),
            "resampling": self.rules.resampling,
        }

    def select(self, query: SceneQuery) -> SceneSelection:
        """Return the images to use, in fixed order, and those left out with the reason.

        Raises:
            SourceError: If the collection cannot be listed, none of its images has the bands or
                the cadence, or there are no cloud scores.
        """
        self._require_scores()
        try:
            found = list(self._images(query))
            if not found and self.rules.cadence is not None:
                self._require_cadence(query)
        except ReadError as error:
            raise SourceError(
                f"imagery.collection: {self.rules.collection!r} cannot be listed: {error} "
                "(check the id, and that the project may read it)"
            ) from error
        chosen = choose_scenes(found, replace(query, bands=(), scl_band=None))
        return with_bands(chosen, query.bands, self.rules.collection)

    def _require_scores(self) -> None:
        """Refuse scores that are not there, of which every chip would say so in its own row."""
        if self.rules.cloud_score is None:
            return
        collection = self.rules.cloud_score.collection
        name = f"imagery.cloud_score.collection: {collection!r}"
        try:
            kind = self.session.asset(collection).get("type")
        except ReadError as error:
            raise SourceError(f"{name} cannot be read: {error} (check id and access)") from error
        if kind != "IMAGE_COLLECTION":
            raise SourceError(f"{name} is no image collection but {kind}")

    def _images(self, query: SceneQuery) -> Iterator[Item]:
        """Every image of the collection over an area, page by page."""
        images = self._asked(query)
        if self.rules.cadence is not None:
            import ee

            images = images.filter(ee.Filter.eq("cadence", self.rules.cadence))
        offset = 0
        while True:
            page = self.session.compute(images.toList(PAGE, offset))
            for info in page:
                yield item_of(info, self.rules.collection)
            if len(page) < PAGE:
                return
            offset += PAGE

    def _require_cadence(self, query: SceneQuery) -> None:
        """Refuse a cadence that none of the images there are has: a slip would leave no chips."""
        others = {
            str((info.get("properties") or {}).get("cadence", "no such property"))
            for info in self.session.compute(self._asked(query).toList(PAGE, 0))
        }
        if others:
            raise SourceError(
                f"imagery.cadence: {self.rules.cadence!r} has none of the images of "
                f"{self.rules.collection!r} in the area and dates; they have "
                f"{', '.join(sorted(others))}"
            )

    def _asked(self, query: SceneQuery) -> Any:
        """Images of the collection over an area, between dates, as the service says it."""
        import ee

        self.session.prepare()
        # Solar days differ from days in UTC by less than one.
        first = query.start - dt.timedelta(days=1)
        end = query.end + dt.timedelta(days=2)
        return (
            ee.ImageCollection(self.rules.collection)
            .filterDate(first.isoformat(), end.isoformat())
            .filterBounds(ee.Geometry.Rectangle(list(query.box.wgs84_bounds()), None, False))
        )

    def native_geobox(self, item: Item, band: str) -> GeoBox:
        """Return the pixel grid of one band of an image; nothing is asked.

        Raises:
            ReadError: If the image has no such band, or its CRS has no code.
        """
        return geobox_of_band(item, band)

    def composite(
        self,
        items: Sequence[Item],
        geobox: GeoBox,
        rules: CompositeRules,
        table: LabelTable | None = None,
    ) -> ServerComposite:
        """Return the expression of a composite, with its scenes pinned by id.

        Raises:
            SourceError: If the rules ask for what the service cannot do, or the expression is
                longer than it reads.
        """
        self.session.prepare()
        scenes = SceneRules(
            rules.bands, rules.clouds, self.rules.cloud_score, self.rules.resampling
        )
        image, anywhere = expressions.composite(items, geobox, rules, scenes, table)
        return ServerComposite(
            expression=self.session.encode(image),
            preview_expression=self.session.encode(anywhere),
            bands=rules.bands if table is None else (*rules.bands, LABEL),
            dtype=expressions.dtype_of(items, rules),
            label_band=table is not None,
        )

    def pinned(self, table: LabelTable) -> LabelTable:
        """Return a table with its version, so that a changed one asks its chips again.

        Raises:
            SourceError: If there is no such table, or polygons would be missing without a word.
        """
        self.session.prepare()
        name = f"labels.tables: {table.asset_id!r}"
        try:
            found = self.session.asset(table.asset_id)
            if found.get("type") != "TABLE":
                raise SourceError(f"{name} is no table but {found.get('type')}")
            own, classed = self.session.compute(table.counts())
        except ReadError as error:
            raise SourceError(f"{name} cannot be read: {error} (check id and access)") from error
        table.require_polygons(own, classed)
        return replace(table, version=str(found.get("updateTime", "")))

    def read(self, composite: ServerComposite, geobox: GeoBox) -> ServerPixels:
        """Return the pixels of a composite on a grid, by one request (two where confirmed).

        Raises:
            ReadError: If they cannot be had; ``kind`` says whether asking again can help.
            SourceError: If they are more than one request may ask for, or nothing can be had any
                more because the credentials have expired.
        """
        return self._read(composite, composite.expression, geobox)

    def read_preview(self, composite: ServerComposite, geobox: GeoBox) -> ServerPixels:
        """Return the pixels of ``preview_expression`` on a coarse grid, as ``read``."""
        return self._read(composite, composite.preview_expression, geobox)

    def _read(self, composite: ServerComposite, expression: str, geobox: GeoBox) -> ServerPixels:
        bands = len(composite.bands) + 1
        check_request(
            geobox.shape.x, geobox.shape.y, bands * np.dtype(composite.dtype).itemsize, bands
        )
        body = request_body(expression, geobox)

        def ask() -> tuple[bytes, ServerPixels]:
            return self.session.post(
                "image:computePixels",
                body,
                lambda payload: (payload, answered(payload, composite, geobox)),
            )

        return self._confirmed(ask)

    def _confirmed(self, ask: Callable[[], tuple[bytes, T]]) -> T:
        """Return what ``ask`` gives; where it is to be confirmed, once two answers are alike."""
        seen: set[bytes] = set()
        for _ in range(CONFIRMATIONS):
            payload, answer = ask()
            if not self.rules.confirm:
                return answer
            digest = hashlib.sha256(payload).digest()
            if digest in seen:
                return answer
            seen.add(digest)
        raise ReadError(
            f"{CONFIRMATIONS} answers to one request differ from each other",
            kind="invalid_payload",
        )

    def read_picture(
        self,
        composite: ServerComposite,
        geobox: GeoBox,
        picture: Literal["png", "jpg"],
        stretch: Stretch,
    ) -> bytes:
        """Return three bands as the service draws them: one request names it, one gets it.

        Raises:
            ReadError: As ``read``.
        """
        self.session.prepare()
        drawn = expressions.picture(
            _image_of(composite.expression), geobox, composite.bands, stretch
        )
        body = thumbnail_body(self.session.encode(drawn), picture)

        def ask() -> tuple[bytes, bytes]:
            name = self.session.post("thumbnails?fields=name", body, thumbnail_name)
            payload = self.session.get(
                f"{name}:getPixels", lambda got: whole_picture(got, picture, geobox)
            )
            return payload, payload

        return self._confirmed(ask)

    def traffic(self) -> Traffic:
        """Return how many requests were sent, repeated and are under way."""
        return self.session.caller.stats()


@lru_cache(maxsize=16)
def _image_of(expression: str) -> Any:
    """An expression as ``ee.Image`` again; chips of one composite share it."""
    import ee
    from ee import deserializer

    return ee.Image(deserializer.fromCloudApiJSON(expression))
