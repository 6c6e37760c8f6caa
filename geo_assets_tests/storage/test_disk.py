from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from geo_assets.errors import StorageError
from geo_assets.storage import disk
from geo_assets.storage.disk import RESERVE, free_bytes, occupied_bytes, require_room

MIB = 1024**2


@pytest.fixture
def asked(monkeypatch):
    """The folders that the system was asked about; it says that 100 MiB are free."""
    folders = []

    def usage(folder):
        folders.append(folder)
        return SimpleNamespace(free=100 * MIB)

    monkeypatch.setattr(disk.shutil, "disk_usage", usage)
    return folders


def test_free_bytes_are_those_of_the_nearest_folder_that_exists(tmp_path, asked):
    assert free_bytes(tmp_path / "not/yet/there") == 100 * MIB
    assert asked == [tmp_path]


def test_a_relative_folder_lies_below_the_working_folder(tmp_path, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    free_bytes(Path("data/demo"))
    assert asked == [tmp_path]


def test_free_bytes_are_what_the_system_says(tmp_path):
    assert 0 < free_bytes(tmp_path) <= shutil.disk_usage(tmp_path).total


@pytest.mark.usefixtures("asked")
def test_the_reserve_stays_free(tmp_path):
    fits = 100 * MIB - RESERVE
    require_room(tmp_path, fits, "chips")
    with pytest.raises(StorageError, match=r"chips: needs up to 36 MiB more.*100 MiB free.*64 MiB"):
        require_room(tmp_path, fits + 1, "chips")


@pytest.mark.usefixtures("asked")
def test_results_that_are_replaced_make_room(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/old.tif").write_bytes(bytes(MIB))
    assert occupied_bytes(tmp_path) == MIB
    require_room(tmp_path, 37 * MIB, "chips")
    with pytest.raises(StorageError):
        require_room(tmp_path, 38 * MIB, "chips")


@pytest.mark.usefixtures("asked")
def test_the_largest_result_needs_room_beside_its_predecessor(tmp_path):
    (tmp_path / "old.zarr").write_bytes(bytes(40 * MIB))
    require_room(tmp_path, 40 * MIB, "cube", at_once=36 * MIB)
    with pytest.raises(StorageError, match="up to 40 MiB more"):
        require_room(tmp_path, 40 * MIB, "cube", at_once=40 * MIB)


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert occupied_bytes(tmp_path / "nothing") == 0
