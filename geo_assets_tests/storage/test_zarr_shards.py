"""Shards written here are those that zarr-python reads, and the other way round."""

from __future__ import annotations

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.storage.zarr_shards import pack_shard, read_chunks, read_index

SLOTS = 8


def a_store(path):
    """An array of shards of 8 chunks of 5 bytes, without any compression."""
    return zarr.create_array(
        path, shape=(SLOTS, 5), shards=(SLOTS, 5), chunks=(1, 5), dtype="uint8", compressors=None
    )


def read_all(shard):
    with shard.open("rb") as file:
        return read_chunks(file.fileno(), read_index(file.fileno(), SLOTS))


@given(chunks=st.dictionaries(st.integers(0, SLOTS - 1), st.binary(min_size=5, max_size=5)))
@settings(max_examples=30, deadline=None)
def test_zarr_python_reads_what_was_packed(tmp_path_factory, chunks):
    path = tmp_path_factory.mktemp("shards") / "array.zarr"
    array = a_store(path)
    shard = path / "c" / "0" / "0"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"".join(pack_shard(chunks, SLOTS)))
    wanted = np.zeros((SLOTS, 5), "uint8")
    for number, chunk in chunks.items():
        wanted[number] = np.frombuffer(chunk, "uint8")
    np.testing.assert_array_equal(array[:], wanted)
    assert read_all(shard) == chunks


def test_what_zarr_python_wrote_is_read(tmp_path):
    array = a_store(tmp_path / "array.zarr")
    array[2] = array[5] = 9
    shard = tmp_path / "array.zarr" / "c" / "0" / "0"
    assert read_all(shard) == {2: b"\x09" * 5, 5: b"\x09" * 5}


@given(position=st.integers(0, SLOTS * 16 + 3), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_an_index_that_is_damaged_says_nothing(tmp_path_factory, position, bit):
    content = bytearray(b"".join(pack_shard({0: b"12345", 3: b"67890"}, SLOTS)))
    content[10 + position] ^= 1 << bit
    shard = tmp_path_factory.mktemp("shards") / "c.0.0"
    shard.write_bytes(content)
    assert read_all(shard) == {}
    shard.write_bytes(content[:100])
    assert read_all(shard) == {}
