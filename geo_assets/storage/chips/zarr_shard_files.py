"""The shards of a store of chips: reading what lies in them, and writing one whole.

Which chip has which index is the business of ``zarr_store.py``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from geo_assets.core.convergence import FileStamp
from geo_assets.storage.atomic_batch import publish_many
from geo_assets.storage.chips.stamps import stamp_of
from geo_assets.storage.chips.zarr_metadata import PIXELS, VALID
from geo_assets.storage.file_version import FileVersion, version_of
from geo_assets.storage.zarr_shards import ShardIndex, pack_shard, read_chunks, read_index

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_SHARD = re.compile(r"c\.([0-9]+)(?:\.0)+")


class ChipShards:
    """The two files of each shard, of validity and of pixels.

    Args:
        path: The store.
        slots: Chips that a shard has room for.
    """

    def __init__(self, path: Path, slots: int) -> None:
        self.path = path
        self.slots = slots
        self._indices: dict[Path, tuple[FileVersion, ShardIndex]] = {}

    def read(self, index: int) -> bytes | None:
        """Return a chip's payload: its chunks of pixels and of validity; None where one is gone."""
        shard, number = divmod(index, self.slots)
        chunks = [self._chunks(file, {number}) for file in self.files(shard)]
        if any(number not in each for each in chunks):
            return None
        valid, pixels = (each[number] for each in chunks)
        return pixels + valid

    def size(self, index: int) -> int | None:
        """Return the bytes of a chip's payload; None where a chunk is gone."""
        shard, number = divmod(index, self.slots)
        indices = [self._index(file) for file in self.files(shard)]
        if any(number not in each for each in indices):
            return None
        return sum(each[number][1] for each in indices)

    def there(self, shard: int) -> set[int]:
        """Return the numbers within a shard that hold a chip."""
        valid, pixels = (self._index(file) for file in self.files(shard))
        return set(valid.keys() & pixels.keys())

    def stamp(self, shard: int) -> FileStamp | None:
        """Return what tells that a shard is as it was; None where a file is gone.

        Sizes and times of its two files, each added up: a change of either shows.
        """
        stamps = [stamp_of(file) for file in self.files(shard)]
        present = [stamp for stamp in stamps if stamp is not None]
        if len(present) != len(stamps):
            return None
        return FileStamp(sum(s.size for s in present), sum(s.mtime_ns for s in present))

    def numbers(self) -> list[int]:
        """Return the numbers of the shards of which a file exists."""
        folders = [self.path / array for array in (VALID, PIXELS)]
        names = {file.name for folder in folders for file in folder.glob("c.*")}
        return sorted({int(match[1]) for name in names if (match := _SHARD.fullmatch(name))})

    def files(self, shard: int) -> tuple[Path, Path]:
        """Return the files of validity and of pixels."""
        return (
            self.path / VALID / f"c.{shard}.0.0",
            self.path / PIXELS / f"c.{shard}.0.0.0",
        )

    def write(
        self, shard: int, kept: Collection[int], new: Mapping[int, tuple[memoryview, memoryview]]
    ) -> None:
        """Publish a shard, its two files each whole.

        A reader in between meets no valid pixel that holds nothing: new chips get their pixels
        before their validity, and where chips only go, their validity goes first.

        Args:
            shard: Its number.
            kept: Numbers within it whose chunks are copied from the present files as they are.
            new: Chunks of pixels and of validity, by number.
        """
        contents = {}
        validity_first = tuple(zip(self.files(shard), (1, 0), strict=True))
        for file, part in validity_first[::-1] if new else validity_first:
            chunks: dict[int, bytes | memoryview] = {**self._chunks(file, kept)}
            chunks |= {number: pair[part] for number, pair in new.items()}
            contents[file] = pack_shard(chunks, self.slots)
        publish_many(contents)
        # Times have a grain: two generations of a shard may show the same.
        for file in contents:
            self._indices.pop(file, None)

    def _index(self, file: Path) -> ShardIndex:
        """Return where the chunks of a file lie; none where there is no file."""
        try:
            with file.open("rb", buffering=0) as shard:
                return self._index_of(file, shard.fileno())
        except FileNotFoundError:
            return {}

    def _chunks(self, file: Path, numbers: Collection[int]) -> dict[int, bytes]:
        try:
            with file.open("rb", buffering=0) as shard:
                index = self._index_of(file, shard.fileno())
                places = {number: index[number] for number in numbers if number in index}
                return read_chunks(shard.fileno(), places)
        except FileNotFoundError:
            return {}

    def _index_of(self, file: Path, opened: int) -> ShardIndex:
        version = version_of(opened)
        cached = self._indices.get(file)
        if cached is None or cached[0] != version:
            cached = self._indices[file] = (version, read_index(opened, self.slots))
        return cached[1]
