"""Chips in one Zarr store of a partition (``Shelf``).

``zarr_metadata.py`` says what lies in it. A chip keeps its index (``chips.zarr#37``) as long
as it is wanted and published with pixels. Any other takes the first index that is free and that no
row of the published catalog names: a catalog never points at another chip. Indices of chips without
pixels stay empty.

A shard is written by one thread, whole, under a temporary name. Chips that stay are copied as they
are, undecoded: what was damaged stays recognisable by its checksum. A store of other bands, dtype
or size than wanted is removed before the first chip is put; all of its chips are asked again. That
changes every recipe, too: while a chip lies here that stays, only the metadata were changed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

from geo_assets.core.spatial_order import in_spatial_order
from geo_assets.errors import StorageError
from geo_assets.storage.atomic import sweep_temporaries
from geo_assets.storage.atomic_batch import publish_many
from geo_assets.storage.chips.folder import remove_others
from geo_assets.storage.chips.zarr_metadata import (
    PIXELS,
    SMALL_ARRAYS,
    ChipArrays,
    files_of,
    metadata_of,
)
from geo_assets.storage.chips.zarr_pixels import split_chunks
from geo_assets.storage.chips.zarr_shard_files import ChipShards
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from geo_assets.core.chips import ChipSpec
    from geo_assets.core.convergence import FileStamp
    from geo_assets.storage.chips.catalog_table import CatalogRow
    from geo_assets.storage.chips.paths import ChipPaths

STORE = "chips.zarr"
_HREF = re.compile(rf".*/{re.escape(STORE)}#([0-9]+)")


class ChipZarrStore:
    """The chips of one partition as arrays.

    Args:
        paths: Where the partition lies.
        arrays: The form of the chips; None where there is none.
    """

    def __init__(self, paths: ChipPaths, arrays: ChipArrays | None) -> None:
        self.paths = paths
        self.path = paths.chips / STORE
        self._arrays = arrays
        self._shards = ChipShards(self.path, 1 if arrays is None else arrays.slots)
        self._index_of: dict[str, int] = {}
        self._awaited: Counter[int] = Counter()

    def sweep(self) -> None:
        """Remove temporaries, see ``Shelf``."""
        sweep_temporaries(self.paths.chips)

    def stamps(self, hrefs: Iterable[str]) -> dict[str, FileStamp]:
        """Return the stamps of their shards, see ``Shelf``: they tell of every chip in them."""
        stamps: dict[int, FileStamp | None] = {}
        found = {}
        for href in hrefs:
            if (index := index_of(href)) is None:
                continue
            shard = index // self._shards.slots
            if shard not in stamps:
                stamps[shard] = self._shards.stamp(shard)
            if (stamp := stamps[shard]) is not None:
                found[href] = stamp
        return found

    def read(self, href: str) -> bytes | None:
        """Return the two chunks of a chip as they lie in the shards, see ``Shelf``."""
        index = index_of(href)
        return None if index is None else self._shards.read(index)

    def prepare(
        self, wanted: Sequence[ChipSpec], places: Sequence[tuple[str, str]], *, keeps: bool
    ) -> None:
        """Give chips their index and the store room for them, see ``Shelf``."""
        known: dict[str, int] = {}
        taken: set[int] = set()
        for chip_id, href in places:
            # Two runs that died before they published may have given one index to two chips.
            if (index := index_of(href)) is not None and index not in taken:
                known.setdefault(chip_id, index)
                taken.add(index)
        free = (index for index in count() if index not in taken)
        for spec in in_spatial_order(wanted):
            index = known.get(spec.chip_id)
            self._index_of[spec.chip_id] = next(free) if index is None else index
            self._require_form(spec)
        with writing(self.path):
            length = self._length()
            if length is None and self.path.exists() and not keeps:
                shutil.rmtree(self.path)
            wanted_length = max([*self._index_of.values(), *taken, -1]) + 1
            if length is None or length < wanted_length:
                self._describe(wanted_length, None)

    def in_order(self, ask: Sequence[ChipSpec]) -> Sequence[ChipSpec]:
        """Return the chips shard by shard, see ``Shelf``."""
        self._awaited = Counter(self._shard_of(spec.chip_id) for spec in ask)
        return sorted(ask, key=lambda spec: self._index_of[spec.chip_id])

    def batch(self, landed: Collection[str], *, must: bool) -> Collection[str]:
        """Choose the chips of one shard of which all are there, or else most, see ``Shelf``."""
        present = Counter(map(self._shard_of, landed))
        fullest = [shard for shard, _ in present.most_common()]
        complete = [shard for shard in fullest if present[shard] == self._awaited[shard]]
        chosen = (complete or fullest if must else complete)[:1]
        for shard in chosen:
            self._awaited[shard] -= present[shard]
        return [chip_id for chip_id in landed if self._shard_of(chip_id) in chosen]

    def put(
        self, payloads: Mapping[str, bytes], is_kept: Callable[[str], bool]
    ) -> tuple[dict[str, str], dict[str, FileStamp]]:
        """Write the shards of chips, see ``Shelf``."""
        slots = self._shards.slots
        new: dict[int, dict[int, tuple[memoryview, memoryview]]] = {}
        for chip_id, payload in payloads.items():
            chunks = split_chunks(payload)
            if chunks is None:
                raise StorageError(f"chip {chip_id}: its payload is not that of a Zarr store")
            shard, number = divmod(self._index_of[chip_id], slots)
            new.setdefault(shard, {})[number] = chunks
        touched = []
        for shard, chips in new.items():
            there = self._shards.there(shard) - chips.keys()
            hrefs = {n: self._href(shard * slots + n) for n in (*there, *chips)}
            kept = {number for number in there if is_kept(hrefs[number])}
            with writing(self.path):
                self._shards.write(shard, kept, chips)
            touched += [hrefs[number] for number in (*kept, *chips)]
        placed = {chip_id: self._href(self._index_of[chip_id]) for chip_id in payloads}
        return placed, self.stamps(touched)

    def settle(self, rows: Sequence[CatalogRow]) -> bool:
        """Remove chips that are not in the rows, and say in the store who is who."""
        slots = self._shards.slots
        published = {
            index: row
            for row in rows
            if row.href is not None and (index := index_of(row.href)) is not None
        }
        remove_others(self.paths.chips, {STORE} if published else set())
        if not published:
            return False
        changed = False
        for shard in self._shards.numbers():
            there = self._shards.there(shard)
            kept = {number for number in there if shard * slots + number in published}
            if not kept:
                for file in self._shards.files(shard):
                    file.unlink(missing_ok=True)
            elif kept != there:
                self._shards.write(shard, kept, {})
                changed = True
        self._describe(max(published) + 1, list(published.values()))
        return changed

    def _describe(self, length: int, rows: Sequence[CatalogRow] | None) -> None:
        """Write metadata and small arrays where they differ; the group's metadata comes last.

        Without rows the small arrays stay as they are.
        """
        if self._arrays is None:
            return
        chips = {
            index: (row.spec.chip_id, row.spec.geobox)
            for row in rows or ()
            if row.href is not None and (index := index_of(row.href)) is not None
        }
        files = files_of(self._arrays, length, chips)
        changed = {}
        for name, content in files.items():
            file = self.path / name
            differs = not file.is_file() or file.read_bytes() != content
            if differs and (rows is not None or file.name == "zarr.json" or not file.is_file()):
                changed[file] = content
        group = self.path / "zarr.json"
        metadata = changed.pop(group, None)
        publish_many(changed)
        if metadata is not None:
            publish_many({group: metadata})
        for array in SMALL_ARRAYS:
            for file in (self.path / array).glob("c/**/*"):
                if file.is_file() and file.relative_to(self.path).as_posix() not in files:
                    file.unlink()

    def _length(self) -> int | None:
        """Return the length of the axis of chips; None where the store is of another form."""
        if self._arrays is None or not self.path.is_dir():
            return None
        try:
            found = json.loads((self.path / PIXELS / "zarr.json").read_bytes())
            length = int(found["shape"][0])
        except (OSError, ValueError, TypeError, LookupError):
            # Metadata that was damaged or never written: chunks are known by their checksums.
            return 0
        return length if found == metadata_of(self._arrays, length)[PIXELS] else None

    def _require_form(self, spec: ChipSpec) -> None:
        arrays = self._arrays
        if arrays is None or tuple(spec.geobox.shape) != (arrays.rows, arrays.columns):
            raise StorageError(
                f"chip {spec.chip_id}: {tuple(spec.geobox.shape)} pixels, but all chips of a Zarr "
                "store have one size"
            )

    def _href(self, index: int) -> str:
        return self.paths.href(f"{STORE}#{index}")

    def _shard_of(self, chip_id: str) -> int:
        return self._index_of[chip_id] // self._shards.slots


def index_of(href: str) -> int | None:
    """Return a chip's index of an href; None where it names no chip of a store."""
    match = _HREF.fullmatch(href)
    return int(match[1]) if match else None
