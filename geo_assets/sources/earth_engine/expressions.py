"""The expression of a composite: scenes, clouds, days, reducer, rounding and grid, as ee objects.

Built with the official client, so that what is sent is what anybody's script would send. Nothing
here sends a request; every rule is that of ``products/composites/builder.py``, said to a server.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.clouds import SCL_NO_DATA
from geo_assets.core.grids import authority_code, crs_of
from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.images import dtype_of_band, has_band
from geo_assets.sources.scenes.order import observation_order, solar_day

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.geobox import GeoBox

    from geo_assets.sources.earth_engine.label_table import LabelTable
    from geo_assets.sources.protocol import Item
    from geo_assets.sources.rules import CloudRules, CompositeRules
    from geo_assets.storage.chips.expectation import Stretch

VALID = "valid"
"""Band that follows the others in every answer: 1 where the image bands hold a datum."""
LABEL = "label"
FORM = 1
"""Raised when the same rules are said to the server in a way that changes pixels."""

_ROUNDED = frozenset({"median", "mean"})
_RESAMPLING = {"nearest": None, "bilinear": "bilinear", "cubic": "bicubic"}
_CASTS = {
    "uint8": "toUint8",
    "int8": "toInt8",
    "uint16": "toUint16",
    "int16": "toInt16",
    "uint32": "toUint32",
    "int32": "toInt32",
    "float32": "toFloat",
    "float64": "toDouble",
}


@dataclass(frozen=True)
class CloudScoreRules:
    """Cloud Score+: pixels whose score is below the minimum do not count.

    https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED
    """

    collection: str
    band: str
    minimum: float


@dataclass(frozen=True)
class SceneRules:
    """What is done to each scene before days are fused."""

    bands: tuple[str, ...]
    clouds: CloudRules
    cloud_score: CloudScoreRules | None
    resampling: str

    def of(self, items: Sequence[Item]) -> SceneRules:
        """Return the rules for these scenes: without classes where no scene has that band.

        Raises:
            SourceError: If some scenes have the band and others have not.
        """
        if self.clouds.band is None:
            return self
        classified = [item for item in items if has_band(item, self.clouds.band)]
        if 0 < len(classified) < len(items):
            raise SourceError(
                f"clouds.band: {len(classified)} of {len(items)} images have a band "
                f"{self.clouds.band!r}; all or none must have it"
            )
        return self if classified else replace(self, clouds=replace(self.clouds, band=None))

    def pinned(self, item: Item) -> Any:
        """Return the image of an item, and its only: with the scores where they are asked for."""
        import ee

        image = ee.Image(item["properties"]["ee:id"])
        if self.cloud_score is None:
            return image
        # Scores are found by system:index, which a collection made of a list numbers anew.
        scores = ee.ImageCollection(self.cloud_score.collection)
        return image.linkCollection(scores, [self.cloud_score.band])

    def prepared(self, scene: Any) -> Any:
        """Return a pinned scene (``ee.Image``) with its bands alone, masked where any is no datum.

        Raises:
            SourceError: If the server cannot resample so.
        """
        import ee

        image = scene.select(list(self.bands))
        if self.resampling not in _RESAMPLING:
            raise SourceError(
                f"grid.resampling: {self.resampling!r} is not offered by Earth Engine; "
                f"allowed are {sorted(_RESAMPLING)}"
            )
        if (mode := _RESAMPLING[self.resampling]) is not None:
            # Integers that are resampled as they are would lose their fractions on some ways.
            image = image.toDouble().resample(mode)
        if self.clouds.band is not None:
            image = image.updateMask(_clear(scene.select(self.clouds.band), self.clouds))
        if self.cloud_score is not None:
            image = image.updateMask(
                scene.select(self.cloud_score.band).gte(self.cloud_score.minimum)
            )
        return image.updateMask(image.mask().reduce(ee.Reducer.min()))


def composite(
    items: Sequence[Item],
    geobox: GeoBox,
    rules: CompositeRules,
    scenes: SceneRules,
    table: LabelTable | None,
) -> tuple[Any, Any]:
    """Return a composite as ``ee.Image``: on its grid, and without a fixed grid for previews.

    Bands: the image bands, the label band if there is a table, and ``valid``, all of one dtype.

    Raises:
        SourceError: If the rules ask for what the server cannot do.
    """
    import ee

    if not items:
        raise SourceError("a composite needs at least one scene")
    dtype = dtype_of(items, rules)
    days = _observations(items, scenes.of(items))
    reduced = getattr(days, rules.reducer)()
    valid = reduced.mask().reduce(ee.Reducer.min()).gt(0).rename(VALID)
    fractions = rules.reducer in _ROUNDED or _RESAMPLING[scenes.resampling] is not None
    if np.dtype(dtype).kind != "f" and fractions:
        reduced = rounded_half_to_even(reduced)
    if table is not None:
        reduced = reduced.addBands(table.image().rename(LABEL))
    image = getattr(reduced.addBands(valid), _CASTS[dtype])().clip(rectangle(geobox))
    code, transform = authority_code(crs_of(geobox)), list(geobox.affine)[:6]
    return image.reproject(code, transform), image


def dtype_of(items: Sequence[Item], rules: CompositeRules) -> str:
    """Return numpy's name of the dtype that all bands of a composite share.

    Raises:
        SourceError: If the scenes' dtype has no cast on the server.
    """
    if rules.dtype is not None:
        return rules.dtype
    found = {dtype_of_band(item, band) for item in items for band in rules.bands}
    dtype = np.result_type(*sorted(found)).name
    if dtype not in _CASTS:
        raise SourceError(f"bands of {sorted(found)} share no dtype; ask for composite.dtype")
    return dtype


def rounded_half_to_even(image: Any) -> Any:
    """Return an image's values rounded half to even, which the server's own ``round`` does not.

    IEEE 754, roundTiesToEven: floor, and one more above a half, or at a half of an odd floor.
    """
    floor = image.floor()
    rest = image.subtract(floor)
    odd = floor.mod(2).neq(0)
    return floor.add(rest.gt(0.5).Or(rest.eq(0.5).And(odd)))


def rectangle(geobox: GeoBox) -> Any:
    """Return the area of a grid as a planar ``ee.Geometry`` in its own CRS."""
    import ee

    code = authority_code(crs_of(geobox))
    return ee.Geometry.Rectangle(list(geobox.boundingbox.bbox), code, False, True)


def picture(image: Any, geobox: GeoBox, bands: Sequence[str], stretch: Stretch) -> Any:
    """Return a composite as a picture (``ee.Image`` of red, green and blue) on exactly one grid.

    Values from low to high become 1 to 255, as in pictures that are drawn here: 0 is no datum.
    """
    import ee

    shown = [bands[position] for position in stretch.bands]
    low = np.array(stretch.low, float)
    high = np.array(stretch.high, float)
    below = low - (high - low) / 254
    colours = image.select(shown, ["red", "green", "blue"]).max(ee.Image(low.tolist()))
    colours = colours.updateMask(image.select(VALID))
    drawn = colours.visualize(bands=["red", "green", "blue"], min=below.tolist(), max=high.tolist())
    code, transform = authority_code(crs_of(geobox)), list(geobox.affine)[:6]
    return drawn.reproject(code, transform).clipToBoundsAndScale(
        geometry=rectangle(geobox), width=geobox.shape.x, height=geobox.shape.y
    )


def _clear(classes: Any, rules: CloudRules) -> Any:
    """Where a scene classification says clear: 1, else 0."""
    unclear = _among(classes, sorted(set(rules.exclude)))
    # The edge of a scene (class 0) is no cloud to be grown.
    grown = sorted(set(rules.exclude) - {SCL_NO_DATA})
    if rules.dilate_m > 0 and grown:
        cloud = _among(classes, grown)
        unclear = unclear.Or(cloud.focalMax(rules.dilate_m, "circle", "meters"))
    return unclear.Not()


def _among(classes: Any, values: list[int]) -> Any:
    """Where a class is one of some values: 1, else 0; the service remaps no empty list."""
    return classes.remap(values, [1] * len(values), 0) if values else classes.lt(0)


def _observations(items: Sequence[Item], scenes: SceneRules) -> Any:
    """Return one image a solar day as ``ee.ImageCollection``: in each pixel its first valid scene.

    Days with one scene are mapped over by one function, so that the expression stays short.
    """
    import ee

    days: Mapping[np.datetime64[Any], list[Item]] = defaultdict(list)
    for item in observation_order(items):
        days[solar_day(item)].append(item)
    alone = [day[0] for _, day in sorted(days.items()) if len(day) == 1]
    fused = [day for _, day in sorted(days.items()) if len(day) > 1]
    parts = []
    if alone:
        parts.append(_collection(alone, scenes).map(scenes.prepared))
    if fused:
        # A mosaic shows its last image on top.
        mosaics = [_collection(day[::-1], scenes).map(scenes.prepared).mosaic() for day in fused]
        parts.append(ee.ImageCollection(mosaics))
    return parts[0] if len(parts) == 1 else parts[0].merge(parts[1])


def _collection(items: Sequence[Item], scenes: SceneRules) -> Any:
    import ee

    return ee.ImageCollection([scenes.pinned(item) for item in items])
