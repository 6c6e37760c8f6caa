"""What a cube holds and which observations enter it, as values that recipes are made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.core.index_catalogue import find_index
from geo_assets.core.outliers import OutlierRule  # noqa: TC001  # type of a field
from geo_assets.core.smoothing import SmoothingRules  # noqa: TC001  # type of a field
from geo_assets.sources.rules import CloudRules  # noqa: TC001  # type of a field
from geo_assets.storage.cubes.format import CubeVariable, band_variable, index_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

NDVI = "ndvi"
FORMAT = 4
"""Raised when equal rules give other bytes than before."""

_UNREAD = "uint16"
"""dtype of a band in a cube none of whose days has a pixel."""


@dataclass(frozen=True)
class IndexRule:
    """A spectral index as variable of a cube.

    Attributes:
        name: Name in the catalogue.
        bands: (common name, the source's name of that band) for each band it needs.
    """

    name: str
    bands: tuple[tuple[str, str], ...]

    @property
    def variable(self) -> str:
        """Name in the cube."""
        return find_index(self.name).variable

    @property
    def scale_free(self) -> bool:
        """Whether it is the same of digital numbers and of reflectance in units."""
        return find_index(self.name).scale_free


@dataclass(frozen=True)
class CubeRules:
    """How observations become a cube.

    Attributes:
        red: Red band.
        nir: Near-infrared band.
        clouds: Which observations are clear.
        min_clear: Least clear share of the area for a day to enter the cube, 0 to 1.
        outliers: What happens to values of an index far from their day's median.
        n_sigma: How far that is, in robust sigmas.
        indices: Indices beside NDVI, which is always there.
        raw_bands: Bands that are kept as they are.
        scale: Reflectance of one digital number where a scene does not say; None: refused.
        smoothing: How the smoothed copies of the indices are made; None: there are none.
    """

    red: str
    nir: str
    clouds: CloudRules
    min_clear: float
    outliers: OutlierRule
    n_sigma: float
    indices: tuple[IndexRule, ...] = ()
    raw_bands: tuple[str, ...] = ()
    scale: float | None = None
    smoothing: SmoothingRules | None = None

    @property
    def all_indices(self) -> tuple[IndexRule, ...]:
        """NDVI and the others."""
        return (IndexRule("NDVI", (("nir", self.nir), ("red", self.red))), *self.indices)

    @property
    def bands(self) -> tuple[str, ...]:
        """Every band that is read, in the source's names, each once."""
        needed = [band for index in self.all_indices for _, band in reversed(index.bands)]
        return tuple(dict.fromkeys((*needed, *self.raw_bands)))

    @property
    def scaled_bands(self) -> tuple[str, ...]:
        """Bands whose reflectance in units is needed."""
        needed = [b for i in self.all_indices if not i.scale_free for _, b in i.bands]
        return tuple(dict.fromkeys(needed))

    def variables(self, dtypes: Mapping[str, str]) -> tuple[CubeVariable, ...]:
        """Return the variables that are made of scenes.

        Args:
            dtypes: numpy's name of the dtype of each raw band.
        """
        return (
            *(index_of(rule) for rule in self.all_indices),
            *(band_variable(band, dtypes.get(band, _UNREAD)) for band in self.raw_bands),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what decides every day, as JSON values for recipes."""
        said = asdict(self) | {"clouds": self.clouds.to_dict(), "format": FORMAT}
        # Smoothed values are made of stored ones: no day is read again because of them.
        del said["smoothing"]
        # The catalogue's own words: another release of it may correct a formula.
        said["indices"] = sorted(
            [found.name, found.formula, sorted(found.constants.items()), *map(list, rule.bands)]
            for rule, found in ((rule, find_index(rule.name)) for rule in self.indices)
        )
        said["raw_bands"] = sorted(self.raw_bands)
        return said


def index_of(rule: IndexRule) -> CubeVariable:
    """Return an index as variable, described in the catalogue's words and numbers."""
    if rule.variable == NDVI:
        # The catalogue's words too, which are not loaded for it alone.
        return index_variable(NDVI, comment="NDVI = (N-R)/(N+R)")
    index = find_index(rule.name)
    said = [f"{index.name} = {index.formula}", *(f"{k} = {v}" for k, v in index.constants.items())]
    return index_variable(
        rule.variable,
        long_name=index.long_name,
        comment=", ".join(said),
        references=index.reference,
    )
