"""Shards of Zarr arrays as files: chunks one after the other, and their index at the end.

The layout of Zarr v3's ``sharding_indexed`` codec with the index at the end, whose entries are
offset and length of each chunk (both 2^64 - 1 where there is none), then CRC-32C:
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html. Written here and
not by zarr-python, because chunks are moved between shards as they are, without being decoded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_MISSING = 2**64 - 1
_CRC_BYTES = 4

ShardIndex = dict[int, tuple[int, int]]
"""Offset and length of each chunk there is, by its number within the shard."""


def pack_shard(chunks: Mapping[int, bytes | memoryview], slots: int) -> list[bytes | memoryview]:
    """Return a shard's bytes in parts; equal chunks give equal bytes.

    Args:
        chunks: Encoded chunks by their number within the shard.
        slots: How many chunks a shard of the array has room for.
    """
    index = np.full((slots, 2), _MISSING, "<u8")
    at = 0
    for number in sorted(chunks):
        index[number] = at, len(chunks[number])
        at += len(chunks[number])
    entries = index.tobytes()
    crc = google_crc32c.value(entries).to_bytes(_CRC_BYTES, "little")
    return [*(chunks[number] for number in sorted(chunks)), entries, crc]


def read_index(file: int, slots: int) -> ShardIndex:
    """Return where the chunks of a shard lie; none where there is no whole shard.

    An index whose checksum is wrong says nothing about any chunk.

    Args:
        file: Descriptor of the shard.
        slots: How many chunks it has room for.
    """
    size = slots * 16 + _CRC_BYTES
    entries = os.pread(file, size, max(os.fstat(file).st_size - size, 0))
    if len(entries) < size:
        return {}
    crc = int.from_bytes(entries[-_CRC_BYTES:], "little")
    if google_crc32c.value(entries[:-_CRC_BYTES]) != crc:
        return {}
    table = np.frombuffer(entries[:-_CRC_BYTES], "<u8").reshape(slots, 2)
    there = (table != _MISSING).all(axis=1)
    return {
        int(number): (int(table[number, 0]), int(table[number, 1])) for number in there.nonzero()[0]
    }


def read_chunks(file: int, places: Mapping[int, tuple[int, int]]) -> dict[int, bytes]:
    """Return the bytes of chunks, by number; less than they have where a shard is too short.

    Args:
        file: Descriptor of the shard, the same that its index was read from: another file may take
            its name at any moment.
        places: Offset and length of each.
    """
    return {number: os.pread(file, length, offset) for number, (offset, length) in places.items()}
