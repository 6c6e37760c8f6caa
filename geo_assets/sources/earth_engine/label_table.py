"""Label polygons that lie in an Earth Engine table, and the band that the server burns of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from geo_assets.core.label_band import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUE = "geo_assets_label"


@dataclass(frozen=True)
class LabelTable:
    """The polygons of one fold, of all splits.

    Attributes:
        asset_id: The table.
        split_column: Property that names the split; None: all polygons are the split's own.
        split: The split whose polygons are burned as classes; those of others become 255.
        class_column: Property that names the class; None: every polygon is class 1.
        classes: Label value of each class.
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

        polygons = ee.FeatureCollection(self.asset_id)
        own = polygons
        if self.split_column is not None:
            own = polygons.filter(ee.Filter.eq(self.split_column, self.split))
        reducer = ee.Reducer.max() if self.overlap == "max" else ee.Reducer.min()
        if self.class_column is None:
            column = _VALUE
            own = own.map(lambda feature: feature.set(_VALUE, 1))
        else:
            column = self.class_column
            names, values = zip(*sorted(self.classes.items()), strict=True)
            own = own.remap(list(names), list(values), column)
        label = own.reduceToImage([column], reducer).unmask(BACKGROUND)
        if self.split_column is not None:
            other = polygons.filter(ee.Filter.neq(self.split_column, self.split))
            ignored = other.map(lambda feature: feature.set(_VALUE, 1))
            label = label.where(ignored.reduceToImage([_VALUE], ee.Reducer.max()), IGNORE)
        return label
