"""How observations become a composite, and one block of it: what workers do side by side.

What is made of all blocks, and how it is published and healed, is in ``composites``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.core.compositing import fill_value, reduce_stack
from geo_assets.core.observation_choice import MaxNdvi
from geo_assets.core.reducers import Percentile
from geo_assets.errors import GeoAssetsError
from geo_assets.sources.band_keys import bands_of_ndvi
from geo_assets.sources.observations import CloudRules, observe
from geo_assets.sources.open_files import kept_open

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.label_band import Overlap
    from geo_assets.core.reducers import Reducer
    from geo_assets.sources.protocol import Item, RasterSource
    from geo_assets.sources.windows import FailedWindow


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


@dataclass(frozen=True)
class BlockTask:
    """A block of a composite to be made: it names what is read and carries no pixels.

    Attributes:
        source: Where pixels come from.
        items: Scenes; those that do not meet the block cost nothing.
        geobox: The block's pixel grid.
        rules: How they are composed.
    """

    source: RasterSource
    items: Sequence[Item]
    geobox: GeoBox
    rules: CompositeRules


@dataclass(frozen=True, eq=False)
class ComposedBlock:
    """A block of a composite.

    Attributes:
        pixels: (band, y, x), the fill of its dtype where not valid; None: no scene was read.
        valid: (y, x); None: no scene was read.
        failed: Windows of the block that could not be read.
    """

    pixels: NDArray[Any] | None
    valid: NDArray[np.bool_] | None
    failed: tuple[FailedWindow, ...]


def compose_block(task: BlockTask) -> ComposedBlock:
    """Read the scenes of a block and reduce their clear observations."""
    with kept_open():
        seen = observe(
            task.source, task.items, task.rules.bands_read, task.geobox, task.rules.clouds
        )
    if not len(seen.days):
        return ComposedBlock(None, None, seen.failed)
    # One thread: blocks are made side by side.
    pixels, valid, _ = reduce_stack(
        seen.data, seen.valid, task.rules.reduction(), task.rules.dtype, threads=1
    )
    pixels = pixels[: len(task.rules.bands)]
    for window in seen.failed:
        # A median over the dates that happened to be readable would look right and be another.
        valid[window.slices] = False
        pixels[:, *window.slices] = fill_value(pixels.dtype)
    return ComposedBlock(pixels, valid, seen.failed)
