"""Where the new days of a cube lie until all are there: a Zarr group beside the cube's place.

Days are put there chunk by chunk as they are made, so that no more than a few are in memory.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import scratch_folder
from geo_assets.storage.cubes.chunk_files import write_chunk_file
from geo_assets.storage.cubes.days import digest_of_chunks
from geo_assets.storage.cubes.format import chunk_slices, chunks_of, create_variable
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from geo_assets.storage.cubes.chunk_files import PackedChunk
    from geo_assets.storage.cubes.format import CubeVariable, Index3


class Stage:
    """New days of one cube, each in a slot of its own."""

    def __init__(self, folder: Path, slots: int, shape: tuple[int, int]) -> None:
        """Lay out a stage in an empty folder.

        Args:
            folder: On the same disk as the cube.
            slots: Days that there may be.
            shape: Rows and columns of the cube.
        """
        self.folder = folder
        self._slots = slots
        self.shape = shape
        self.edges = chunks_of(shape)[1:]
        self._group = zarr.create_group(folder, zarr_format=3)
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._variables: dict[int, dict[str, CubeVariable]] = {}
        self._digests: dict[int, dict[tuple[str, int, int], str]] = {}
        self._moved: set[tuple[str, int]] = set()

    def chunks(self) -> list[Index3]:
        """Return the chunks of one day, in row-major order; the first slice says nothing."""
        return chunk_slices((1, *self.shape), (1, *self.edges))

    def put(self, slot: int, variable: CubeVariable, chunk: Index3, packed: PackedChunk) -> None:
        """Put one chunk of one variable of the day in a slot, once; packed for chunks of ``edges``.

        Raises:
            StorageError: The variable is of another dtype than before, or the disk refuses it.
        """
        known = self._variables.setdefault(slot, {}).setdefault(variable.name, variable)
        _require_dtype(variable.name, packed.dtype, known.dtype)
        _, rows, cols = chunk
        place = (slot, rows.start // self.edges[0], cols.start // self.edges[1])
        write_chunk_file(self.folder / variable.name, place, packed)
        key = (variable.name, rows.start, cols.start)
        self._digests.setdefault(slot, {})[key] = packed.digest

    def hold(self, name: str, chunk: Index3, values: NDArray[Any]) -> None:
        """Lay a chunk (y, x) of the day in making aside; it takes the place of an earlier day's."""
        file = self._held(name) / f"{chunk[1].start}-{chunk[2].start}.npy"
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, values)

    def held(self, name: str, chunk: Index3) -> NDArray[Any]:
        """Return a chunk that was laid aside."""
        values: NDArray[Any] = np.load(
            self._held(name) / f"{chunk[1].start}-{chunk[2].start}.npy", allow_pickle=False
        )
        return values

    def _held(self, name: str) -> Path:
        return self.folder / ".held" / name

    def keep(self, slot: int) -> str:
        """Give the day in a slot, all of whose chunks were put, its place; return its digest.

        Raises:
            StorageError: A variable is of another dtype than on a day that has its place.
        """
        for name, variable in self._variables.pop(slot).items():
            array = self._arrays.get(name)
            if array is None:
                array = create_variable(self._group, variable, (self._slots, *self.shape))
                self._arrays[name] = array
            _require_dtype(name, variable.dtype, array.dtype.name)
        return digest_of_chunks(self._digests[slot])

    def drop(self, slot: int) -> None:
        """Forget a day that has no place in the cube."""
        self._digests.pop(slot, None)
        for name in self._variables.pop(slot, ()):
            shutil.rmtree(self._chunks_of(name, slot), ignore_errors=True)

    def array(self, name: str) -> zarr.Array[Any]:
        """Return the array of a variable, its first axis the slots."""
        return self._arrays[name]

    def move_chunks(self, name: str, slot: int, target: Path) -> None:
        """Give the encoded chunks of one variable of one day another folder, on the same disk.

        Without chunks there is no folder.

        Raises:
            StorageError: They were moved before: what is left is no day without a datum.
        """
        if (name, slot) in self._moved:
            raise StorageError(f"{target}: what is to lie there was published already")
        self._moved.add((name, slot))
        source = self._chunks_of(name, slot)
        if source.is_dir():
            target.parent.mkdir(exist_ok=True)
            source.rename(target)

    def _chunks_of(self, name: str, slot: int) -> Path:
        return self.folder / name / "c" / str(slot)


def _require_dtype(name: str, dtype: str, wanted: str) -> None:
    if dtype != wanted:
        raise StorageError(
            f"variable {name!r}: is {dtype} on one day and {wanted} on another; a cube holds one "
            "dtype"
        )


@contextmanager
def staged(path: Path, slots: int, shape: tuple[int, int]) -> Iterator[Stage]:
    """Give a stage for a cube that lies or will lie at ``path``; removed at the end."""
    with scratch_folder(path) as folder:
        yield Stage(folder, slots, shape)
