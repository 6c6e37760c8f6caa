"""Label polygons that lie in an Earth Engine table, and the band that the server burns of them."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from geo_assets.core.label_band import BACKGROUND, IGNORE
from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUE = "geo_assets_label"
_WHOLE = re.compile(r"0|-?[1-9]\d{0,14}")
"""Whole numbers as they are written when read from a file; floating point holds them exactly."""
_FRACTION = re.compile(r"-?(0|[1-9]\d{0,14})\.\d*[1-9]")


@dataclass(frozen=True)
class LabelTable:
    """The polygons of one fold, of all splits.

    Attributes:
        asset_id: The table.
        split_column: Property that names the split; None: all polygons are the split's own.
        split: The split whose polygons are burned as classes; those of others become 255.
        class_column: Property that names the class, or is its number; None: every polygon is
            class 1.
        classes: Label value of each class, by name; a number is named as it is written.
        overlap: Which class wins a pixel claimed by several polygons.
        version: When the table was last changed, as the server says it.
    """

    asset_id: str
    split_column: str | None
    split: str
    class_column: str | None
    classes: Mapping[str, int]
    overlap: Literal["max", "min"]
    version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the label band, as JSON values for recipes."""
        return asdict(self) | {"classes": dict(self.classes)}

    def image(self) -> Any:
        """Return the label band as an ``ee.Image``: every pixel that a polygon touches is burned.

        0 background, 1 to 254 class, 255 polygons of other splits, also where an own one lies.
        https://developers.google.com/earth-engine/apidocs/ee-featurecollection-reducetoimage
        """
        import ee

        reducer = ee.Reducer.max() if self.overlap == "max" else ee.Reducer.min()
        column = _VALUE if self.class_column is None else self.class_column
        label = self._classed().reduceToImage([column], reducer).unmask(BACKGROUND)
        if self.split_column is not None:
            other = self._polygons().filter(self._of_split(self.split_column).Not())
            ignored = other.map(lambda feature: feature.set(_VALUE, 1))
            label = label.where(ignored.reduceToImage([_VALUE], ee.Reducer.max()), IGNORE)
        return label

    def counts(self) -> Any:
        """Return, as an ``ee.List``, how many polygons the split has, and how many of a class."""
        import ee

        return ee.List([self._own().size(), self._classed().size()])

    def require_polygons(self, own: int, classed: int) -> None:
        """Refuse counts that tell of polygons that would be missing without a word.

        Raises:
            SourceError: If the split has no polygon, or some are of no class.
        """
        name = f"labels.tables: {self.asset_id!r}"
        if not own:
            raise SourceError(
                f"{name} has no polygon whose property {self.split_column!r} is {self.split!r}"
                if self.split_column is not None
                else f"{name} has no polygon"
            )
        if classed < own:
            raise SourceError(
                f"{name}: {own - classed} of {own} polygons of {self.split!r} have a "
                f"{self.class_column!r} that is none of the classes {sorted(self.classes)}"
            )

    def _polygons(self) -> Any:
        import ee

        return ee.FeatureCollection(self.asset_id)

    def _own(self) -> Any:
        polygons = self._polygons()
        if self.split_column is None:
            return polygons
        return polygons.filter(self._of_split(self.split_column))

    def _of_split(self, column: str) -> Any:
        import ee

        return ee.Filter.inList(column, _spellings(self.split))

    def _classed(self) -> Any:
        """The split's polygons with their label value; those of no known class are left out."""
        own = self._own()
        if self.class_column is None:
            return own.map(lambda feature: feature.set(_VALUE, 1))
        known = [
            (spelling, value)
            for name, value in sorted(self.classes.items())
            for spelling in _spellings(name)
        ]
        names, values = zip(*known, strict=True)
        return own.remap(list(names), list(values), self.class_column)


def _spellings(name: str) -> list[str | int | float]:
    """Return the values of a property that are a name: itself, and the number that it spells.

    Files are read so that 3 and 3.0 are both ``3``; the server compares a text with no number.
    """
    if _WHOLE.fullmatch(name):
        return [name, int(name)]
    if _FRACTION.fullmatch(name):
        return [name, float(name)]
    return [name]
