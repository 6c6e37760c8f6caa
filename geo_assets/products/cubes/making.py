"""One day of a cube put together from its chunks: on the stage, and as a record of what it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.indices import MISSING, quantise_in_range
from geo_assets.core.outliers import spread_of, treat_outliers
from geo_assets.products.cubes.days import SeenChunk
from geo_assets.products.windows import merge_windows
from geo_assets.storage.cubes.chunk_files import pack_chunk
from geo_assets.storage.cubes.days import StoredDay

if TYPE_CHECKING:
    from geo_assets.products.cubes.rules import CubeRules
    from geo_assets.storage.cubes.chunk_files import PackedChunk
    from geo_assets.storage.cubes.format import CubeVariable, Index3
    from geo_assets.storage.cubes.stage import Stage


class DayInMaking:
    """One day on its way to the stage; an index is laid aside while outliers are looked for."""

    def __init__(self, rules: CubeRules, inside: int, stage: Stage, slot: int) -> None:
        """Begin a day.

        Args:
            rules: How the cube is made.
            inside: Pixels of the area.
            stage: Where its values go.
            slot: Which place there.
        """
        self._rules = rules
        self._inside = inside
        self._stage = stage
        self._slot = slot
        self._held: dict[str, list[Index3]] = {}
        self._open: list[tuple[str, Index3]] = []
        self._sum = SeenChunk()
        self._valid: Counter[str] = Counter()
        self._dtypes: dict[str, str] = {}

    def add(self, chunk: Index3, seen: SeenChunk) -> None:
        """Take what was seen in a chunk."""
        self._sum.clear += seen.clear
        self._sum.outside.update(seen.outside)
        self._sum.moved.update(seen.moved)
        self._sum.failed += seen.failed
        self._sum.read |= seen.read
        for name, values in seen.raw.items():
            self._held.setdefault(name, []).append(chunk)
            self._stage.hold(name, chunk, values)
        bands = self._rules.raw_bands
        self._dtypes |= {name: seen.packed[name].dtype for name in bands if name in seen.packed}
        self._open += [(name, chunk) for name in bands if name not in seen.packed]
        for name, packed in seen.packed.items():
            self._put(name, chunk, packed)

    def finished(self, pin: str) -> StoredDay:
        """Return what is known of the day; it stays on the stage if it has a place in the cube."""
        rules, seen = self._rules, self._sum
        clear = seen.clear / self._inside if self._inside else 0.0
        failed = merge_windows(seen.failed)
        # Without a pixel of any scene nothing is known of the day, not even the dtype of its bands.
        kept = clear >= rules.min_clear and seen.read
        outliers: dict[str, int] = {}
        if kept:
            for name in self._held:
                outliers[name] = self._write_treated(name)
            for band, chunk in self._open:
                self._fill(band, chunk)
        digest = self._stage.keep(self._slot) if kept else None
        if not kept:
            self._stage.drop(self._slot)
        return StoredDay(
            digest,
            self._dtypes if kept else {},
            {
                "pin": pin,
                "clear": clear,
                "valid": {name: self._valid[name] for name in sorted(self._valid)} if kept else {},
                "outliers": outliers,
                "outside": {name: n for name, n in sorted(seen.outside.items()) if n},
                "moved": {name: n for name, n in sorted(seen.moved.items()) if n},
                "failed": [asdict(window) for window in failed],
            },
        )

    def _write_treated(self, name: str) -> int:
        """Write an index that was laid aside, and return the number of its outliers."""
        rules, stage, chunks = self._rules, self._stage, self._held[name]
        spread = spread_of(lambda: (stage.held(name, chunk) for chunk in chunks))
        outliers = 0
        for chunk in chunks:
            clean, count = treat_outliers(
                stage.held(name, chunk), spread, rules.outliers, rules.n_sigma
            )
            steps, outside = quantise_in_range(clean)
            self._sum.outside[name] += outside
            self._put(name, chunk, pack_chunk(steps, MISSING, stage.edges))
            outliers += count
        return outliers

    def _put(self, name: str, chunk: Index3, packed: PackedChunk) -> None:
        self._valid[name] += packed.valid
        self._stage.put(self._slot, self._variable(name), chunk, packed)

    def _fill(self, band: str, chunk: Index3) -> None:
        """Put a chunk of a band in which nothing was read."""
        variable = self._variable(band)
        shape = tuple(part.stop - part.start for part in chunk[1:])
        nothing = np.full(shape, variable.fill, variable.dtype)
        self._put(band, chunk, pack_chunk(nothing, variable.fill, self._stage.edges))

    def _variable(self, name: str) -> CubeVariable:
        return next(v for v in self._rules.variables(self._dtypes) if v.name == name)
