"""Chunks of new days lie on a stage until a cube takes them, once."""

import errno

import numpy as np
import pytest

from geo_assets.core.indices import MISSING
from geo_assets.errors import StorageError
from geo_assets.storage.cubes.chunk_files import pack_chunk
from geo_assets.storage.cubes.format import index_variable
from geo_assets.storage.cubes.stage import staged

NDVI = index_variable("ndvi")


def test_a_day_is_taken_once_and_never_again_as_an_empty_one(tmp_path):
    with staged(tmp_path / "cube.zarr", 2, (5, 7)) as stage:
        values = np.arange(35, dtype=np.int16).reshape(5, 7)
        [chunk] = stage.chunks()
        stage.put(0, NDVI, chunk, pack_chunk(values, MISSING, stage.edges))
        packed = (stage.folder / "ndvi/c/0/0/0").read_bytes()
        stage.move_chunks("ndvi", 0, tmp_path / "taken/0")
        assert (tmp_path / "taken/0/0/0").read_bytes() == packed
        with pytest.raises(StorageError, match="published already"):
            stage.move_chunks("ndvi", 0, tmp_path / "taken/1")
    assert not stage.folder.exists()


def test_a_day_without_a_datum_has_no_folder(tmp_path):
    with staged(tmp_path / "cube.zarr", 1, (5, 7)) as stage:
        [chunk] = stage.chunks()
        nothing = np.full((5, 7), MISSING, np.int16)
        stage.put(0, NDVI, chunk, pack_chunk(nothing, MISSING, stage.edges))
        stage.move_chunks("ndvi", 0, tmp_path / "taken/0")
    assert not (tmp_path / "taken").exists()


def test_a_chunk_is_put_once(tmp_path):
    with staged(tmp_path / "cube.zarr", 1, (5, 7)) as stage:
        [chunk] = stage.chunks()
        packed = pack_chunk(np.ones((5, 7), np.int16), MISSING, stage.edges)
        stage.put(0, NDVI, chunk, packed)
        with pytest.raises(StorageError, match=r"ndvi/c/0/0/0: cannot be written: File exists"):
            stage.put(0, NDVI, chunk, packed)


def test_a_disk_that_refuses_a_chunk_is_an_error_that_names_it(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("geo_assets.storage.cubes.chunk_files.write_file", full)
    with staged(tmp_path / "cube.zarr", 1, (5, 7)) as stage:
        [chunk] = stage.chunks()
        packed = pack_chunk(np.ones((5, 7), np.int16), MISSING, stage.edges)
        with pytest.raises(StorageError, match="cannot be written: No space left on device"):
            stage.put(0, NDVI, chunk, packed)
