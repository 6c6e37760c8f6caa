"""What a simulated archive is made from: the few numbers that decide every byte of it.

Light on purpose: definitions import this module. No pixels, no geometry.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from geo_assets.errors import SourceError

LAYOUT_VERSION = 1
"""Counts changes of this package that change an archive's bytes: older archives are rewritten."""

SMALLEST_TILE, LARGEST_TILE = 240, 1536


@dataclass(frozen=True)
class ArchiveSpec:
    """A simulated archive, completely: equal specs give equal bytes."""

    seed: int = 7
    """Seed of the landscape, the weather and the noise."""
    year: int = 2021
    """Year of all acquisitions."""
    tile_size: int = 768
    """Pixels of 10 m along a side of each tile, a multiple of 6 (so that 60 m pixels fit)."""

    def __post_init__(self) -> None:
        """Refuse what no archive can be built from."""
        if self.seed < 0:
            raise SourceError(f"ArchiveSpec.seed: {self.seed} is negative; allowed is 0 or more")
        if not 2016 <= self.year <= 2100:
            raise SourceError(f"ArchiveSpec.year: {self.year}; allowed is 2016 to 2100")
        size = self.tile_size
        if size % 6 or not SMALLEST_TILE <= size <= LARGEST_TILE:
            raise SourceError(
                f"ArchiveSpec.tile_size: {size}; allowed is a multiple of 6 "
                f"from {SMALLEST_TILE} to {LARGEST_TILE}"
            )

    def digest(self) -> str:
        """Return the sha256 (hex) of this spec and of the layout's version."""
        content = json.dumps({**asdict(self), "layout": LAYOUT_VERSION}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()
