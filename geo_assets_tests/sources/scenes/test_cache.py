from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from geo_assets.sources.scenes.asset_files import AssetFiles
from geo_assets.sources.scenes.cache import SceneCache
from geo_assets.storage.atomic import temporary_name
from geo_assets_tests.emulators.file_server import Answer, FileServer
from geo_assets_tests.sources.scene_testing import GRID, noise, write_raster
from geo_assets_tests.sources.scenes.asset_reading import (
    ALWAYS_500,
    HTML,
    QUICK,
    TokenSigning,
    damage_last_block,
    everything,
    fails,
    first_block,
    pixels,
    pixels_of_first_block,
)

if TYPE_CHECKING:
    from pathlib import Path


def kept(cache: SceneCache) -> list[Path]:
    """The files of a cache but its locks."""
    paths = cache.folder.rglob("*")
    return [path for path in paths if path.is_file() and path.suffix != ".lock"]


def test_kept_scenes_are_asked_for_once(server: FileServer, tmp_path: Path) -> None:
    cache = SceneCache(tmp_path / "kept")
    href = f"{server.url}/x.tif"
    for _ in range(2):
        read = AssetFiles(QUICK, cache=cache).read(href, everything, "x")
        assert np.array_equal(read, pixels(server))
    assert server.requests == ["/x.tif"]
    assert cache.path_of(href).read_bytes() == (server.folder / "x.tif").read_bytes()


def test_a_kept_scene_is_found_by_its_unsigned_href(server: FileServer, tmp_path: Path) -> None:
    cache = SceneCache(tmp_path / "kept")
    server.key = "good"
    AssetFiles(QUICK, TokenSigning(["good"]), cache).read(f"{server.url}/x.tif", everything, "x")
    assert cache.path_of(f"{server.url}/x.tif").is_file()
    assert "good" not in " ".join(str(path) for path in cache.folder.rglob("*"))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (HTML, "invalid_payload"),
        (Answer(200), "invalid_payload"),
        (Answer(200, b"II*\0" + bytes(10), promised=5000), "transient"),
        (ALWAYS_500, "transient"),
    ],
)
def test_a_bad_download_leaves_nothing_behind(
    server: FileServer, tmp_path: Path, fault: Answer, kind: str
) -> None:
    cache = SceneCache(tmp_path / "kept")
    files = AssetFiles(QUICK, cache=cache)
    server.always = fault
    assert fails(files, f"{server.url}/x.tif").kind == kind
    assert kept(cache) == []
    server.always = None
    files = AssetFiles(QUICK, cache=cache)  # of the next run
    assert np.array_equal(files.read(f"{server.url}/x.tif", everything, "x"), pixels(server))


def test_a_kept_scene_that_is_damaged_is_downloaded_again(
    server: FileServer, tmp_path: Path
) -> None:
    cache = SceneCache(tmp_path / "kept")
    href = f"{server.url}/x.tif"
    files = AssetFiles(QUICK, cache=cache)
    files.read(href, everything, "x")
    cache.path_of(href).write_bytes(cache.path_of(href).read_bytes()[:600])
    assert np.array_equal(files.read(href, everything, "x"), pixels(server))


def test_a_kept_scene_that_is_damaged_at_its_source_is_downloaded_twice_and_kept(
    server: FileServer, tmp_path: Path
) -> None:
    damage_last_block(server.folder / "x.tif")
    cache = SceneCache(tmp_path / "kept")
    href = f"{server.url}/x.tif"
    files = AssetFiles(QUICK, cache=cache)
    errors = [fails(files, href) for _ in range(3)]
    assert [(error.kind, error.whole) for error in errors] == [("invalid_payload", False)] * 3
    assert np.array_equal(files.read(href, first_block, "x"), pixels_of_first_block(server))
    assert server.requests == ["/x.tif"] * 2
    write_raster(server.folder / "x.tif", noise(GRID, 1), GRID)
    healed = AssetFiles(QUICK, cache=cache).read(href, everything, "x")  # in the next run
    assert np.array_equal(healed, pixels(server))


def test_what_is_sound_in_a_kept_scene_stays_there_when_it_cannot_be_downloaded_again(
    server: FileServer, tmp_path: Path
) -> None:
    damage_last_block(server.folder / "x.tif")
    cache = SceneCache(tmp_path / "kept")
    href = f"{server.url}/x.tif"
    files = AssetFiles(QUICK, cache=cache)
    files.read(href, first_block, "x")
    server.always = ALWAYS_500
    assert fails(files, href).kind == "transient"
    assert np.array_equal(files.read(href, first_block, "x"), pixels_of_first_block(server))


def test_threads_that_want_one_scene_download_it_once(server: FileServer, tmp_path: Path) -> None:
    files = AssetFiles(QUICK, cache=SceneCache(tmp_path / "kept"))
    with ThreadPoolExecutor(8) as pool:
        reads = pool.map(lambda _: files.read(f"{server.url}/x.tif", everything, "x"), range(16))
        assert all(np.array_equal(read, pixels(server)) for read in reads)
    assert server.requests == ["/x.tif"]


def test_what_a_killed_download_left_is_removed_by_the_next(
    server: FileServer, tmp_path: Path
) -> None:
    cache = SceneCache(tmp_path / "kept")
    path = cache.path_of(f"{server.url}/x.tif")
    path.parent.mkdir(parents=True)
    temporary_name(path).write_bytes(b"II*\0")
    AssetFiles(QUICK, cache=cache).read(f"{server.url}/x.tif", everything, "x")
    assert kept(cache) == [path]


def test_a_kept_scene_of_another_version_is_not_taken_for_this_one(
    server: FileServer, tmp_path: Path
) -> None:
    cache = SceneCache(tmp_path / "kept")
    href = f"{server.url}/x.tif"
    files = AssetFiles(QUICK, cache=cache)
    nameless = files.read(href, everything, "x")
    assert kept(cache) == [cache.path_of(href)]
    old = files.read(href, everything, "x", "baseline=03.00")
    assert np.array_equal(old, nameless)
    assert kept(cache) == [cache.path_of(href, "baseline=03.00")]
    new = write_raster(server.folder / "x.tif", noise(GRID, 2), GRID)
    assert np.array_equal(files.read(href, everything, "x", "baseline=05.00"), new)
    assert np.array_equal(files.read(href, everything, "x", "baseline=03.00"), old)
