"""Chunks of plain Zarr v3 arrays packed and written as files: what Zarr would write, sooner.

Through Zarr's own pipeline a chunk costs twice what its compression does (tasks of an event loop,
copies). What is written here is what ``format.create_variable`` declares, no more; a test
compares every byte with Zarr's. Packing needs no store: whoever makes values does it, on a cluster
the worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_128_hexdigest

from geo_assets.storage.blosc import Blosc
from geo_assets.storage.disk_errors import writing
from geo_assets.storage.uncached_files import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK_BYTES = 1024**2
"""Bytes that Blosc compresses at once: half a chunk of int16. Its own choice, 32 KiB, takes twice
the time to write and to read, and is larger; for each chunk it takes memory of three such blocks,
which in a young process costs more than to decode."""

_BLOSC = Blosc(cname="zstd", clevel=1, shuffle=Blosc.SHUFFLE, blocksize=BLOCK_BYTES)


@dataclass(frozen=True)
class PackedChunk:
    """One chunk of one date, ready to be written.

    Attributes:
        content: Its bytes as Zarr has them; None: it holds no datum, and there will be no file.
        dtype: numpy's name of the dtype of its values.
        digest: Of its values, see ``chunk_digest``.
        valid: Pixels with a datum.
    """

    content: bytes | None
    dtype: str
    digest: str
    valid: int


def pack_chunk(values: NDArray[Any], fill: float, edges: tuple[int, int]) -> PackedChunk:
    """Compress one chunk.

    Args:
        values: (y, x); at the far edges smaller than a chunk, and then padded with no datum.
        fill: What pixels without datum hold; NaN: those that are NaN.
        edges: Rows and columns of a whole chunk.
    """
    # Once: what is cut from an image would be copied by the digest and by the codec.
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    missing = np.isnan(little) if little.dtype.kind == "f" else little == fill
    valid = little.size - int(np.count_nonzero(missing))
    content = None
    if valid:
        data = little
        if values.shape != edges:
            data = np.full(edges, fill, little.dtype)
            data[: values.shape[0], : values.shape[1]] = little
        content = bytes(_BLOSC.encode(data))
    return PackedChunk(content, values.dtype.name, chunk_digest(little), valid)


def write_chunk_file(folder: Path, place: tuple[int, int, int], chunk: PackedChunk) -> None:
    """Write one chunk, unless it holds nothing.

    Args:
        folder: The array's folder, in a store that nobody reads yet.
        place: Number of the chunk along time, y and x.
        chunk: The chunk.

    Raises:
        StorageError: The disk refuses it.
    """
    if chunk.content is None:
        return
    path = folder.joinpath("c", *map(str, place))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, chunk.content)


def chunk_digest(values: NDArray[Any]) -> str:
    """Return the XXH3 (128 bits) of values in little-endian bytes.

    It tells damage and change, of which nobody is the author; SHA-256 took as long as to decode.
    """
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return xxh3_128_hexdigest(little.data)
