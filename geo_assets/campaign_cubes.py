"""How a campaign's cubes are made: what they hold, what is filled and smoothed, how they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from geo_assets.campaign_values import Band, Section
from geo_assets.core.band_names import SENTINEL_2_NAMES, common_name, esa_name
from geo_assets.core.index_catalogue import SMOOTHED, find_index, index_names, is_index, nearest
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESERVED = ("time", "y", "x", "spatial_ref", "ndvi")
"""What every cube has: its axes, its grid, and NDVI."""


class Outliers(Section):
    """What happens to values far from the median of their date, to each index by its own."""

    rule: Literal["none", "mask", "median"] = Field("none", description="Leave, drop or replace.")
    n_sigma: StrictFloat = Field(10.0, gt=0, le=1000, description="Robust sigmas (1.4826 MAD).")

    @model_validator(mode="after")
    def _sigmas_are_of_a_rule(self) -> Self:
        if self.rule == "none":
            self.refuse_idle(["n_sigma"], "'rule: mask' or 'rule: median'")
        return self


class Smoothing(Section):
    """A smoothed copy of each index of a cube, `ndvi_smoothed` beside `ndvi`."""

    method: Literal["linear", "savitzky-golay", "whittaker"] = Field(
        "linear", description="Gaps filled linear in time, and nothing or a filter after it."
    )
    max_gap_days: StrictInt = Field(62, ge=0, le=366, description="Longest gap that is filled.")
    window: StrictInt = Field(
        7, ge=3, le=99, description="Steps of a Savitzky-Golay window, an odd number."
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

    @model_validator(mode="after")
    def _filter_is_the_method(self) -> Self:
        if self.method != "savitzky-golay":
            self.refuse_idle(["window", "order"], "'method: savitzky-golay'")
        if self.method != "whittaker":
            self.refuse_idle(["strength"], "'method: whittaker'")
        return self


class Cube(Section):
    """The cubes: NDVI, further indices and bands of every clear day."""

    red: Band = Field("B04", description="Red band.")
    nir: Band = Field("B08", description="Near-infrared band.")
    variables: tuple[Band, ...] = Field(
        ("NDVI",),
        min_length=1,
        max_length=64,
        description="Spectral indices by name, and bands; NDVI is always there.",
    )
    area: Literal["polygons", "box"] = Field(
        "polygons",
        description="Only pixels whose centre lies in a polygon, or the cluster's whole box.",
    )
    cube_by: Literal["cluster", "tile"] = Field(
        "cluster", description="One cube for each AOI cluster, or for each of its MGRS tiles."
    )
    store: Literal["zarr", "icechunk"] = Field(
        "zarr", description="Plain Zarr, published whole; or Icechunk, appended by transactions."
    )
    outliers: Outliers = Outliers()
    smoothing: Smoothing | None = Field(None, description="Absent: values as observed, no more.")
    scale: StrictFloat | None = Field(
        None,
        gt=0,
        le=1,
        description="Reflectance of one digital number, for indices whose formula holds constants, "
        "where scenes do not say it.",
    )
    keep_snapshots_days: StrictFloat = Field(
        1.0,
        ge=1 / 24,
        le=3650,
        description="Icechunk: days after which an earlier state of a cube may be removed; longer "
        "than the longest write.",
    )

    @model_validator(mode="after")
    def _snapshots_are_of_icechunk(self) -> Self:
        if self.store != "icechunk":
            self.refuse_idle(["keep_snapshots_days"], "'store: icechunk'")
        return self

    def indices(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the indices among the variables beside NDVI.

        Args:
            bands: Bands of the composite; the name of one of them is a band's.
        """
        return tuple(
            name
            for name in self.variables
            if name not in bands and is_index(name) and name.casefold() != "ndvi"
        )

    def raw_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the bands among the variables."""
        return tuple(name for name in self.variables if name in bands or not is_index(name))

    def band_of(self, common: str, bands: Sequence[str]) -> str:
        """Return the campaign's name of the band of a common name.

        A band of the composite, where one has that name by any service's, else the common name,
        which sources understand.
        """
        own = {"red": self.red, "nir": self.nir}
        if common in own:
            return own[common]
        names = (band for band in bands if common_name(band) == common_name(common))
        return next(names, common)

    def all_bands(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return every band that the cubes are made of, in the campaign's names."""
        needed = [
            self.band_of(common, bands)
            for name in self.indices(bands)
            for common in find_index(name).bands.values()
        ]
        return tuple(dict.fromkeys((self.red, self.nir, *needed, *self.raw_bands(bands))))

    def problems(self, bands: Sequence[str], offered: Sequence[str] | None) -> Iterator[str]:
        """Yield what is wrong with the variables.

        Args:
            bands: Bands of the composite.
            offered: Names of all bands of the imagery, where the campaign knows them.
        """
        small = [name.casefold() for name in self.variables]
        twins = sorted(name for name in self.variables if small.count(name.casefold()) > 1)
        if len({_stored(name) for name in twins}) < len(twins):
            yield f"cube.variables: names must differ (got {twins})"
        known = {*bands, self.red, self.nir, *(offered or ())}
        for name in self.raw_bands(bands):
            if name in RESERVED:
                yield (
                    f"cube.variables: {name!r} cannot name a band of a cube, which has its own "
                    f"{', '.join(RESERVED)}"
                )
            elif name.endswith(SMOOTHED):
                yield (
                    f"cube.variables: {name!r} cannot name a band of a cube, whose smoothed copies "
                    f"end in {SMOOTHED}"
                )
            elif name not in known and esa_name(name) is None:
                near = nearest(name, [*index_names(), *sorted(known), *SENTINEL_2_NAMES])
                hint = f"; near are {', '.join(near)}" if near else ""
                yield (
                    f"cube.variables: {name!r} is neither an index of the catalogue nor a band "
                    f"that the campaign knows{hint}; a band that its scenes have goes to "
                    "composite.bands first"
                )
        for name in self.indices(bands):
            try:
                needed = find_index(name).bands.values()
            except GeoAssetsError as error:
                yield f"cube.variables: {error}"
                continue
            for common in needed:
                band = self.band_of(common, bands)
                if offered is not None and common_name(band) not in map(common_name, offered):
                    yield (
                        f"cube.variables: {name!r} needs the band {common!r}; the imagery has "
                        f"{list(offered)}"
                    )


def _stored(name: str) -> str:
    """Name in a cube; that of an index that cannot be had is told by itself."""
    try:
        return find_index(name).variable if is_index(name) else name
    except GeoAssetsError:
        return name
