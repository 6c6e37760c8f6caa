"""How a campaign's cubes are made: what they hold, what is filled and smoothed, how they lie."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from geo_assets.campaign_values import Band, Section

Variable = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,31}$")]
"""Name of a spectral index of the catalogue (any case) or of a band."""


class Outliers(Section):
    """What happens to NDVI values far from their date's median."""

    rule: Literal["none", "mask", "median"] = Field("none", description="Leave, drop or replace.")
    n_sigma: StrictFloat = Field(10.0, gt=0, le=1000, description="Robust sigmas (1.4826 MAD).")


class Smoothing(Section):
    """A smoothed copy of each index of a cube, `ndvi_smoothed` beside `ndvi`."""

    method: Literal["linear", "savitzky-golay", "whittaker"] = Field(
        "linear", description="Gaps filled linear in time, and nothing or a filter after it."
    )
    max_gap_days: StrictInt = Field(62, ge=0, le=366, description="Longest gap that is filled.")
    window: StrictInt = Field(
        7, ge=3, le=99, description="Dates of a Savitzky-Golay window, an odd number."
    )
    order: StrictInt = Field(2, ge=1, le=5, description="Degree of its polynomials.")
    strength: StrictFloat = Field(
        10.0, gt=0, le=1e9, description="Lambda of the Whittaker filter: greater is smoother."
    )

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.window % 2 == 0:
            msg = f"'window' must be odd (got {self.window})"
            raise ValueError(msg)
        if self.order >= self.window:
            msg = f"'order' must be less than 'window' (got {self.order} and {self.window})"
            raise ValueError(msg)
        return self


class Cube(Section):
    """The cubes: NDVI, further indices and bands of every clear day."""

    red: Band = Field("B04", description="Red band.")
    nir: Band = Field("B08", description="Near-infrared band.")
    variables: tuple[Variable, ...] = Field(
        ("NDVI",),
        min_length=1,
        max_length=64,
        description="Spectral indices by name, and bands; NDVI is always there.",
    )
    area: Literal["polygons", "box"] = Field(
        "polygons", description="Values inside the polygons only, or in the cluster's whole box."
    )
    cube_by: Literal["cluster", "tile"] = Field(
        "cluster", description="One cube for each AOI cluster, or for each of its MGRS tiles."
    )
    store: Literal["zarr", "icechunk"] = Field(
        "zarr", description="Plain Zarr, published whole; or Icechunk, appended by transactions."
    )
    outliers: Outliers = Outliers()
    smoothing: Smoothing | None = Field(None, description="Absent: values as observed, no more.")
