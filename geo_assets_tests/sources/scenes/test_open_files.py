from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np
import pytest
import rasterio

from geo_assets.errors import ReadError
from geo_assets.sources.scenes import open_files
from geo_assets.sources.scenes.asset_files import AssetFiles
from geo_assets.sources.scenes.open_files import kept_open
from geo_assets_tests.sources.scene_testing import GRID, noise, write_raster

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were opened."""
    names: list[str] = []
    really_open = rasterio.open

    def count(target, *args, **options):
        names.append(target)
        return really_open(target, *args, **options)

    monkeypatch.setattr(rasterio, "open", count)
    monkeypatch.setattr(open_files, "_ALL_FILES", WeakValueDictionary())
    monkeypatch.setattr(open_files, "_SHELF", open_files._Shelf())
    return names


def first_pixel(path: Path) -> int:
    return AssetFiles().read(str(path), lambda file: int(file.read(1)[0, 0]), "a test")


def test_a_file_is_opened_once_for_many_windows(tmp_path, opens):
    data = write_raster(tmp_path / "a.tif", noise(GRID, 1), GRID)
    opens.clear()
    for _ in range(2):
        with kept_open():
            assert first_pixel(tmp_path / "a.tif") == data[0, 0, 0]
            assert first_pixel(tmp_path / "a.tif") == data[0, 0, 0]
    assert len(opens) == 1
    first_pixel(tmp_path / "a.tif")
    assert len(opens) == 2, "who does not ask for it gets a file of his own"


@pytest.mark.usefixtures("opens")
def test_a_file_that_was_replaced_is_opened_anew(tmp_path):
    with kept_open():
        for seed in (1, 2):
            write_raster(tmp_path / "new.tif", noise(GRID, seed), GRID)
            (tmp_path / "new.tif").rename(tmp_path / "a.tif")
            assert first_pixel(tmp_path / "a.tif") == noise(GRID, seed)[0, 0, 0]


def test_a_file_that_failed_is_opened_anew(tmp_path, opens):
    write_raster(tmp_path / "a.tif", noise(GRID, 1), GRID)
    opens.clear()

    def fail(_: object) -> None:
        raise ReadError("no", kind="invalid_payload")

    with kept_open():
        with pytest.raises(ReadError, match="no"):
            AssetFiles().read(str(tmp_path / "a.tif"), fail, "a test")
        first_pixel(tmp_path / "a.tif")
    assert len(opens) == 2


def test_a_file_that_is_missing_is_named(tmp_path):
    with kept_open(), pytest.raises(ReadError, match=r"the file is missing") as caught:
        first_pixel(tmp_path / "a.tif")
    assert caught.value.kind == "permanent"


def test_threads_share_no_handle(tmp_path, opens):
    write_raster(tmp_path / "a.tif", noise(GRID, 1), GRID)
    opens.clear()

    def read() -> None:
        with kept_open():
            first_pixel(tmp_path / "a.tif")

    for _ in range(2):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert len(opens) == 2


@pytest.mark.usefixtures("opens")
def test_threads_share_the_room(tmp_path, monkeypatch):
    monkeypatch.setattr(open_files, "_ROOM", 4)
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for path in paths:
        write_raster(path, noise(GRID, 1), GRID)
    kept, done = threading.Barrier(3, timeout=30), threading.Event()
    sizes = []

    def read() -> None:
        with kept_open():
            first_pixel(paths[0])
            kept.wait()  # both have a shelf
            for path in paths:
                first_pixel(path)
            sizes.append(len(open_files._SHELF.files))
            kept.wait()
            done.wait(30)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    kept.wait()
    kept.wait()
    # This thread, which has none open, has a shelf as well.
    assert sizes == [1, 1]
    done.set()
    for thread in threads:
        thread.join()


def test_a_full_shelf_keeps_what_came_first_until_it_is_idle(tmp_path, opens, monkeypatch):
    monkeypatch.setattr(open_files, "_ROOM", 2)
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for path in paths:
        write_raster(path, noise(GRID, 1), GRID)
    opens.clear()
    with kept_open():
        for path in paths * 2:
            first_pixel(path)
        assert [name[-5] for name in opens] == ["a", "b", "c", "c"]
        monkeypatch.setattr(open_files, "_IDLE_S", -1.0)
        for path in paths[::-1]:
            first_pixel(path)
        assert len(open_files._SHELF.files) <= 2
    assert np.all([path.exists() for path in paths])
