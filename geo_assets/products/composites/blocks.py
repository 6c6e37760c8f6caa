"""How observations become a composite, and one block of it: what workers do side by side.

What is made of all blocks, and how it is published and healed, is in ``builder``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.core.compositing import fill_value, reduce_stack
from geo_assets.core.fusion import DtypesDifferError
from geo_assets.products.composites.canvas import dtypes_differ
from geo_assets.products.observations import observe
from geo_assets.sources.scenes.open_files import kept_open

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.products.windows import FailedWindow
    from geo_assets.sources.protocol import Item, RasterSource
    from geo_assets.sources.rules import CompositeRules


@dataclass(frozen=True)
class BlockTask:
    """A block of a composite to be made: it names what is read and carries no pixels.

    Attributes:
        source: Where pixels come from.
        items: The scenes that may meet the block.
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
    """Read the scenes of a block and reduce their clear observations.

    Raises:
        SourceError: If a scene cannot be understood, or no dtype is asked for that holds them all.
    """
    rules = task.rules
    try:
        with kept_open():
            seen = observe(
                task.source,
                task.items,
                rules.bands_read,
                task.geobox,
                rules.clouds,
                dtype=rules.dtype,
            )
    except DtypesDifferError as error:
        raise dtypes_differ(error.one, error.other) from error
    if not len(seen.days):
        return ComposedBlock(None, None, seen.failed)
    # One thread: blocks are made side by side.
    pixels, valid = reduce_stack(seen.data, seen.valid, rules.reduction(), rules.dtype, threads=1)
    pixels = pixels[: len(rules.bands)]
    for window in seen.failed:
        # A median over the dates that happened to be readable would look right and be another.
        valid[window.slices] = False
        pixels[:, *window.slices] = fill_value(pixels.dtype)
    return ComposedBlock(pixels, valid, seen.failed)
