"""What is asked of whoever composes scenes: which observations count, and how they become an image.

The graph composes by these rules block by block; a source that composes itself gets them whole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.core.areas import measures_metres
from geo_assets.core.band_names import bands_of_ndvi
from geo_assets.core.observation_choice import MaxNdvi
from geo_assets.core.reducers import Percentile
from geo_assets.errors import GeoAssetsError, SourceError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geo_assets.core.label_band import Overlap
    from geo_assets.core.reducers import Reducer


@dataclass(frozen=True)
class CloudRules:
    """Which observations count as clear.

    Attributes:
        band: Name of the scene classification; None: every valid pixel is clear.
        exclude: Its classes that are not clear.
        dilate_m: Metres by which they are grown, rounded to whole pixels.
    """

    band: str | None = "SCL"
    exclude: tuple[int, ...] = (0, 1, 3, 8, 9, 10)
    dilate_m: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as JSON values, equal for rules that mean the same."""
        return asdict(self) | {"exclude": sorted(set(self.exclude))}

    def dilation(self, geobox: GeoBox) -> int:
        """Return by how many pixels of a grid excluded classes are grown.

        Raises:
            SourceError: If they are to be grown and a metre of the grid is none on the ground.
        """
        if self.band is None or self.dilate_m == 0:
            return 0
        if geobox.crs is None or not measures_metres(str(geobox.crs)):
            raise SourceError(
                f"clouds.dilate_m: {self.dilate_m} metres mean nothing on a grid in {geobox.crs}, "
                "which does not measure metres on the ground; state a grid.crs that does, such as "
                "one of UTM, or 0"
            )
        return round(self.dilate_m / abs(geobox.resolution.x))


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
