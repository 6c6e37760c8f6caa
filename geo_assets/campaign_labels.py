"""How a campaign's label rasters are made: K-Means in space, in time and over bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from geo_assets.campaign_values import Name, Section
from geo_assets.core.band_names import common_name
from geo_assets.core.index_catalogue import find_index
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

K = Annotated[StrictInt, Field(ge=2, le=32)]
IndexName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,31}$")]
"""Name of a spectral index of the catalogue, in any case."""


class ModelFrom(Section):
    """The partition whose fitted model labels all others."""

    fold: Name = Field(description="Its fold.")
    split: Name = Field(description="Its split.")
    cluster: StrictInt | None = Field(
        None, ge=0, description="Its cluster, where each has a model of its own."
    )


class LabelRules(Section):
    """What every kind of label raster has in common."""

    section: ClassVar[str]
    """Their key in a campaign."""

    n_clusters: K | Literal["auto"] = Field(5, description="K, or chosen by the K report.")
    k_range: tuple[K, K] = Field((2, 10), description="Least and greatest K of the K report.")
    smooth_px: StrictInt = Field(
        0, ge=0, le=50, description="Radius of the disc whose majority rules, in pixels."
    )
    model_from: ModelFrom | None = Field(
        None, description="Absent: each partition fits a model of its own."
    )

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if self.k_range[0] >= self.k_range[1]:
            msg = f"'k_range' must rise (got {list(self.k_range)})"
            raise ValueError(msg)
        if self.n_clusters != "auto":
            self.refuse_idle(["k_range"], "'n_clusters: auto'")
        return self

    def _refuse_idle_cluster(self, fit: str) -> None:
        """Refuse a lending cluster where all clusters have one model."""
        if fit == "partition" and self.model_from is not None:
            self.model_from.refuse_idle(["cluster"], "'fit: cluster'")


class SpatialLabels(LabelRules):
    """Exact one-variable K-Means on the NDVI of dates."""

    section = "spatial_labels"
    fit: Literal["date", "cluster", "partition"] = Field(
        "date",
        description="A model for each date; or one for all dates of a cluster, or of a fold and "
        "split, so that labels mean the same through time.",
    )

    @model_validator(mode="after")
    def _one_model_is_borrowed(self) -> Self:
        if self.model_from is not None and self.fit == "date":
            msg = "'model_from' needs 'fit: cluster' or 'fit: partition', one model for all dates"
            raise ValueError(msg)
        self._refuse_idle_cluster(self.fit)
        return self


class PixelLabels(LabelRules):
    """What labels of series and of land cover have in common."""

    fit: Literal["cluster", "partition"] = Field(
        "cluster", description="A model for each cluster, or one for all of a fold and split."
    )
    position_weight: StrictFloat = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of a pixel's place beside its values: 1 counts both alike.",
    )

    @model_validator(mode="after")
    def _places_are_of_one_area(self) -> Self:
        if self.position_weight and (self.model_from is not None or self.fit == "partition"):
            msg = (
                "'position_weight' needs 'fit: cluster' and no 'model_from': a place means "
                "nothing in another area"
            )
            raise ValueError(msg)
        self._refuse_idle_cluster(self.fit)
        return self


class TemporalLabels(PixelLabels):
    """K-Means on each pixel's NDVI series."""

    section = "temporal_labels"
    every: Literal["date", "10d", "month"] = Field("month", description="Step of the time axis.")
    missing: Literal["fill", "ignore"] = Field(
        "fill",
        description="Gaps are filled linear in time, or steps without value are left out of "
        "distances.",
    )
    max_gap_days: StrictInt = Field(
        62, ge=0, le=366, description="Longest gap that is filled, linear in time."
    )
    scaling: Literal["robust", "standard", "none"] = Field(
        "robust", description="One common scale for all steps, or none."
    )

    @model_validator(mode="after")
    def _gaps_are_filled(self) -> Self:
        if self.missing != "fill":
            self.refuse_idle(["max_gap_days"], "'missing: fill'")
        return self


class LandCoverLabels(PixelLabels):
    """K-Means on the bands of the composite, and on indices of them."""

    section = "land_cover"
    indices: tuple[IndexName, ...] = Field(
        (), description="Spectral indices by name, such as NDVI, NDWI, NDBI, beside the bands."
    )
    scaling: Literal["robust", "standard", "none"] = Field(
        "robust", description="A scale for each band and index, or none."
    )

    def problems(self, bands: Sequence[str]) -> Iterator[str]:
        """Yield what is wrong with the indices.

        A composite holds the numbers of its product, so that a formula with constants for
        reflectance from 0 to 1 (EVI, SAVI) would mean something else.

        Args:
            bands: Bands of the composite.
        """
        known = {common_name(band) for band in bands}
        names = []
        for index in self.indices:
            try:
                found = find_index(index)
            except GeoAssetsError as error:
                yield f"land_cover.indices: {error}"
                continue
            names.append(found.name)
            absent = [band for band in found.bands.values() if common_name(band) not in known]
            if not found.scale_free:
                yield (
                    f"land_cover.indices: {index!r} is {found.formula}, with constants for "
                    "reflectance from 0 to 1; allowed are indices that are the same in any unit, "
                    "such as NDVI, NDWI, NDBI"
                )
            elif absent:
                yield (
                    f"land_cover.indices: {index!r} needs {', '.join(absent)}, which is not among "
                    f"composite.bands {list(bands)}"
                )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield f"land_cover.indices: each once (got {', '.join(twice)} more than once)"
