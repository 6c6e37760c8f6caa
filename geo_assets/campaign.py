"""The campaign: everything a user may choose, with units and bounds, as pydantic models.

A campaign is one YAML file; ``campaign_file.py`` finds and loads it. Nothing here touches data:
whether the files of a campaign exist and fit is asked by ``geo-assets doctor`` and by ``labels``.
Paths are relative to the campaign's file. Secrets never belong here but in the environment.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from geo_assets.campaign_consistency import problems_of
from geo_assets.campaign_cubes import Cube
from geo_assets.campaign_imagery import Imagery
from geo_assets.campaign_labels import LandCoverLabels, SpatialLabels, TemporalLabels
from geo_assets.campaign_values import (
    Band,
    CampaignPath,
    ClassValue,
    CrsCode,
    Day,
    Name,
    Owner,
    Section,
)
from geo_assets.core.band_names import bands_of_ndvi


class Areas(Section):
    """Where the labelled areas are, and which columns say what."""

    files: dict[Name, CampaignPath] | None = Field(
        None, description="One vector file for each fold: {fold: file}."
    )
    file: CampaignPath | None = Field(
        None, description="One vector file for all folds; needs fold_column if there are several."
    )
    layer: str | None = Field(None, description="Layer of a file that holds several.")
    fold_column: str | None = Field(None, description="Column that names the fold.")
    split_column: str | None = Field(
        None, description="Column that names the split; absent: everything is the split 'all'."
    )
    id_column: str | None = Field(
        None, description="Column whose values must be unique; absent: not checked."
    )
    class_column: str | None = Field(
        None, description="Column that names the class; absent: everything is class 1."
    )
    classes: dict[str, ClassValue] | None = Field(
        None, min_length=1, description="Label value of each class; absent: 1, 2, ... by name."
    )

    @model_validator(mode="after")
    def _one_way_to_name_files(self) -> Self:
        if (self.files is None) == (self.file is None):
            msg = "give either 'files' (one for each fold) or 'file' (one for all), not both"
            raise ValueError(msg)
        if self.files is not None and self.fold_column is not None:
            msg = "'fold_column' goes with 'file'; with 'files' each file is a fold"
            raise ValueError(msg)
        if self.classes is not None and self.class_column is None:
            msg = "'classes' needs 'class_column', which says the class of each polygon"
            raise ValueError(msg)
        return self


class Clusters(Section):
    """How the polygons of one fold and split are grouped into AOI clusters."""

    count: StrictInt = Field(1, ge=1, le=1000, description="Clusters for each fold and split.")
    buffer_m: StrictFloat = Field(
        0.0, ge=0, le=100_000, description="Metres added around each cluster's bounding box."
    )
    max_box_km: StrictFloat | None = Field(
        None,
        gt=0,
        le=1000,
        description="Longest side of a cluster's box; clusters are added until it holds.",
    )
    only: tuple[Annotated[StrictInt, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="Work on imagery and chips of these clusters; others stay."
    )


class Clouds(Section):
    """Which observations count as clear."""

    max_cover: StrictFloat = Field(
        100.0, ge=0, le=100, description="Largest eo:cloud_cover of a scene, in percent."
    )
    band: Band | None = Field("SCL", description="Scene classification, used where a scene has it.")
    exclude: tuple[Annotated[StrictInt, Field(ge=0, le=255)], ...] = Field(
        (0, 1, 3, 8, 9, 10), description="Classes of that band that are not clear."
    )
    dilate_m: StrictFloat = Field(
        0.0, ge=0, le=5000, description="Metres by which clouds are grown."
    )
    min_clear: StrictFloat = Field(
        0.0, ge=0, le=1, description="Least clear share of the area for a date to enter a cube."
    )

    @model_validator(mode="after")
    def _classes_are_of_a_band(self) -> Self:
        if self.band is None:
            self.refuse_idle(["exclude", "dilate_m"], "a 'band' of classes")
        return self


class Grid(Section):
    """The pixel grid of a cluster."""

    crs: CrsCode = Field("auto", description="'auto', or an EPSG code such as EPSG:32637.")
    resolution: Literal["native"] | Annotated[StrictFloat, Field(gt=0, le=100_000)] = Field(
        "native", description="'native', or the pixel size in units of the CRS."
    )
    resampling: Literal["nearest", "bilinear", "cubic", "average"] = Field(
        "nearest", description="For reflectance off the lattice; classes are always nearest."
    )


class Composite(Section):
    """The composite image of a cluster."""

    bands: tuple[Band, ...] = Field(min_length=1, max_length=1023, description="Bands, in order.")
    reducer: Literal["median", "mean", "min", "max", "percentile", "medoid", "max-ndvi"] = Field(
        "median",
        description="Over days; medoid and max-ndvi take all bands of a pixel from one day.",
    )
    percentile: StrictFloat | None = Field(
        None, ge=0, le=100, description="Which one, with the reducer percentile."
    )
    dtype: Literal["native", "float32"] = Field("native", description="dtype of the image bands.")
    start: Day | None = Field(None, description="First day, within the campaign's dates.")
    end: Day | None = Field(None, description="Last day, within the campaign's dates.")

    @model_validator(mode="after")
    def _percentile_is_stated(self) -> Self:
        if (self.reducer == "percentile") != (self.percentile is not None):
            msg = "'percentile' goes with the reducer 'percentile', which needs it"
            raise ValueError(msg)
        return self


class LabelBand(Section):
    """How polygons become the label band."""

    all_touched: bool = Field(
        True, description="Burn every pixel a polygon touches, not just those with their centre in."
    )
    overlap: Literal["max", "min", "first", "last"] = Field(
        "max", description="Which class wins where polygons overlap."
    )
    tables: dict[Name, str] | None = Field(
        None,
        description="Earth Engine table of each fold's polygons, burned by the server: "
        "{fold: table id}; absent: the polygons of 'areas' are burned here.",
    )


class Chips(Section):
    """The chips cut from the composites."""

    size: StrictInt = Field(256, ge=8, le=4096, description="Pixels a side.")
    overlap: StrictFloat = Field(0.0, ge=0, lt=1, description="Share by which neighbours overlap.")
    keep: Literal["labelled", "all"] = Field(
        "labelled", description="Chips that meet a label polygon, or all of the area."
    )
    border: Literal["pad", "drop"] = Field(
        "pad", description="Chips over the edge of the area: padded with no-data, or dropped."
    )
    max_count: int = Field(
        1_000_000, ge=1, description="Most chips that a fold and split may have."
    )
    format: Literal["tif", "npy", "png", "jpg", "zip", "zarr"] = Field(
        "tif", description="A file for each chip, or one Zarr store of a fold and split."
    )
    preview_bands: tuple[Band, Band, Band] | None = Field(
        None,
        description="Red, green, blue for previews, png and jpg; absent: found by name, the true "
        "colours or infrared, red, green; else the first three.",
    )
    stretch: tuple[StrictFloat, StrictFloat] | None = Field(
        None,
        description="Values shown black and white in png and jpg; absent: 0 to 255 for bytes, "
        "0 to 3000 (reflectance 0 to 0.3) for wider integers, 0 to 0.3 for floats.",
    )
    workers: StrictInt = Field(2, ge=1, le=64, description="Threads that read and write chips.")

    @model_validator(mode="after")
    def _stretch_rises(self) -> Self:
        if self.stretch is not None and self.stretch[0] >= self.stretch[1]:
            msg = f"'stretch' must rise from black to white (got {list(self.stretch)})"
            raise ValueError(msg)
        return self


class Campaign(Section):
    """One campaign: areas, imagery and what to make of them."""

    name: Name = Field(description="Prefix of the asset keys and name of the results' folder.")
    title: str = Field("", description="One line for people.")
    domain: Name | None = Field(
        None, description="Name in the files of `geo-assets export`; absent: the campaign's."
    )
    attribution: str = Field("", description="Whom to name beside the pixels.")
    licence: str = Field("", description="Licence of the results, as SPDX id or words.")
    owners: tuple[Owner, ...] = Field(
        ("team:geo",), description="Owners shown in the UI: e-mail addresses or team:NAME."
    )
    folds: tuple[Name, ...] = Field(("all",), min_length=1, description="Folds or regions.")
    splits: tuple[Name, ...] = Field(("all",), min_length=1, description="Splits.")
    seed: StrictInt = Field(10, ge=0, lt=2**32, description="Seed of everything random.")
    areas: Areas
    clusters: Clusters = Clusters()
    imagery: Imagery
    start: Day = Field(description="First day of imagery.")
    end: Day = Field(description="Last day of imagery.")
    clouds: Clouds = Clouds()
    grid: Grid = Grid()
    composite: Composite
    labels: LabelBand = LabelBand()
    chips: Chips = Chips()
    cube: Cube | None = Field(None, description="Absent: no cubes and no labels from them.")
    spatial_labels: SpatialLabels = SpatialLabels()
    temporal_labels: TemporalLabels = TemporalLabels()
    land_cover: LandCoverLabels | None = Field(
        None, description="Absent: no land-cover labels of the composite."
    )
    keep_scenes: bool = Field(False, description="Keep downloaded source assets for the next run.")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if problems := list(problems_of(self)):
            raise ValueError("\n".join(problems))
        return self

    @property
    def bands(self) -> tuple[str, ...]:
        """Every band the campaign reads: the composite's, its reducer's, then the cube's."""
        chosen_by = (
            bands_of_ndvi(self.composite.bands) if self.composite.reducer == "max-ndvi" else ()
        )
        cube = () if self.cube is None else self.cube.all_bands(self.composite.bands)
        return tuple(dict.fromkeys((*self.composite.bands, *chosen_by, *cube)))

    @property
    def composite_dates(self) -> tuple[Day, Day]:
        """First and last day of the composite."""
        return self.composite.start or self.start, self.composite.end or self.end
