from __future__ import annotations

import datetime as dt
from email.utils import format_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from geo_assets.sources.scenes import failures
from geo_assets.sources.scenes.asset_files import AssetFiles, HttpRules
from geo_assets.sources.scenes.cache import SceneCache
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
    pixels,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio import DatasetReader


def test_a_missing_file_is_a_permanent_failure(tmp_path: Path) -> None:
    error = fails(AssetFiles(), str(tmp_path / "gone.tif"))
    assert (error.kind, str(error)) == (
        "permanent",
        "scene x, asset y (gone.tif): the file is missing",
    )


def test_a_folder_is_a_permanent_failure(tmp_path: Path) -> None:
    assert fails(AssetFiles(), str(tmp_path)).kind == "permanent"


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"II*\0" + bytes(40)])
def test_bytes_that_are_no_raster_are_an_invalid_payload(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    error = fails(AssetFiles(), str(path))
    assert error.kind == "invalid_payload"
    assert str(tmp_path) not in str(error)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_raster_is_an_invalid_payload(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "x.tif"
    write_raster(path, noise(GRID, 1), GRID)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    error = fails(AssetFiles(), str(path))
    assert error.kind == "invalid_payload"
    assert str(tmp_path) not in str(error)


def test_a_garbage_block_fails_the_reads_that_meet_it_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    data = write_raster(path, noise(GRID, 1), GRID)
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.random.default_rng(0).bytes(500))
    error = fails(AssetFiles(), str(path))
    assert error.kind == "invalid_payload"
    upper = AssetFiles().read(str(path), lambda d: d.read(window=((0, 64), (0, 130))), "x")
    assert np.array_equal(upper, data[:, :64])


@pytest.mark.parametrize("href", ["s3://bucket/x.tif", "ftp://host/x.tif", "/vsizip/x.zip/x.tif"])
def test_other_ways_to_a_file_are_refused(href: str) -> None:
    error = fails(AssetFiles(), href)
    assert error.kind == "permanent"
    assert "allowed are paths" in str(error)


def test_a_virtual_raster_is_not_opened(tmp_path: Path) -> None:
    write_raster(tmp_path / "x.tif", noise(GRID, 1), GRID)
    virtual = tmp_path / "y.tif"
    virtual.write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="UInt16" band="1">'
        "<SimpleSource><SourceFilename>x.tif</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    assert fails(AssetFiles(), str(virtual)).kind == "invalid_payload"


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    data = write_raster(tmp_path / "a b.tif", noise(GRID, 1), GRID)
    href = (tmp_path / "a b.tif").as_uri()
    assert np.array_equal(AssetFiles().read(href, everything, "x"), data)


def test_a_remote_file_is_read_by_ranges(server: FileServer) -> None:
    read = AssetFiles(QUICK).read(f"{server.url}/x.tif", everything, "x")
    assert np.array_equal(read, pixels(server))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(404), "permanent", "404"),
        (Answer(403), "permanent", "403"),
        (Answer(410), "permanent", "410"),
        (ALWAYS_500, "transient", "500"),
        (Answer(503), "transient", "503"),
        (Answer(429), "transient", "429"),
        (HTML, "invalid_payload", "<html>please"),
        (Answer(200), "invalid_payload", "no raster"),
    ],
)
def test_what_a_server_answers_decides_the_kind(
    server: FileServer, answer: Answer, kind: str, words: str
) -> None:
    server.always = answer
    error = fails(AssetFiles(QUICK), f"{server.url}/{answer.status}-{len(answer.body)}.tif")
    assert error.kind == kind
    assert words in str(error)
    assert "127.0.0.1" not in str(error)


def test_a_permanent_answer_is_asked_for_once(server: FileServer) -> None:
    fails(AssetFiles(QUICK), f"{server.url}/gone.tif")
    once = len(server.requests)
    fails(AssetFiles(HttpRules(attempts=1)), f"{server.url}/gone-too.tif")
    assert once == len(server.requests) - once


def test_a_server_that_recovers_is_read_although_gdal_remembers_the_failure(
    server: FileServer,
) -> None:
    href = f"{server.url}/x.tif"
    server.always = ALWAYS_500
    assert fails(AssetFiles(QUICK), href).kind == "transient"
    server.always = None
    assert np.array_equal(AssetFiles(QUICK).read(href, everything, "x"), pixels(server))


def test_a_failure_in_the_middle_of_reading_is_retried(server: FileServer) -> None:
    href = f"{server.url}/x.tif"
    calls: list[int] = []

    def breaks_once(dataset: DatasetReader) -> Any:
        calls.append(1)
        if len(calls) == 1:
            server.faults.extend([ALWAYS_500] * 40)
            try:
                return dataset.read()
            finally:
                server.faults.clear()
        return dataset.read()

    write_raster(server.folder / "x.tif", noise(GRID, 1), GRID, compress=None)
    read = AssetFiles(QUICK).read(href, breaks_once, "x")
    assert np.array_equal(read, pixels(server))


def test_a_server_that_is_not_there_is_a_transient_failure() -> None:
    error = fails(AssetFiles(QUICK), "http://127.0.0.1:9/x.tif")
    assert error.kind == "transient"


def test_a_truncated_remote_raster_is_an_invalid_payload(server: FileServer) -> None:
    content = (server.folder / "x.tif").read_bytes()
    (server.folder / "x.tif").write_bytes(content[: len(content) // 2])
    assert fails(AssetFiles(QUICK), f"{server.url}/x.tif").kind == "invalid_payload"


@pytest.mark.parametrize(
    "asked",
    ["3", format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(days=1), usegmt=True)],
    ids=["seconds", "date"],
)
def test_a_server_that_says_when_to_come_back_is_obeyed_within_the_limit(
    server: FileServer, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.always = Answer(429, headers=(("Retry-After", asked),))
    fails(AssetFiles(HttpRules(attempts=2, wait_max_s=2)), f"{server.url}/x.tif")
    assert waits == [pytest.approx(2)]


def test_an_expired_signature_is_renewed_once(server: FileServer) -> None:
    server.key = "good"
    href = f"{server.url}/x.tif"
    signing = TokenSigning(["old", "good"])
    read = AssetFiles(QUICK, signing).read(href, everything, "x")
    assert np.array_equal(read, pixels(server))
    assert signing.renewed == [href]


def test_a_signature_that_stays_refused_is_a_permanent_failure_without_the_token(
    server: FileServer,
) -> None:
    server.key = "good"
    signing = TokenSigning(["old-secret", "new-secret", "more-secret"])
    error = fails(AssetFiles(QUICK, signing), f"{server.url}/x.tif")
    assert error.kind == "permanent"
    assert len(signing.renewed) == 1
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("answer", "lasts"), [(HTML, 600), (Answer(404), 600), (ALWAYS_500, 60)], ids=str
)
def test_a_file_that_cannot_be_had_is_asked_for_again_after_a_while(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, lasts: int
) -> None:
    now = [1000.0]
    monkeypatch.setattr(failures, "time", SimpleNamespace(monotonic=lambda: now[0]))
    (server.folder / "other.tif").write_bytes((server.folder / "x.tif").read_bytes())
    href, other = (f"{server.url}/{name}.tif" for name in ("x", "other"))
    for cache in (None, SceneCache(tmp_path / "kept")):
        files = AssetFiles(QUICK, cache=cache)
        server.always = answer
        first = fails(files, href)
        assert first.whole
        asked = len(server.requests)
        server.always = None
        again = fails(files, href)
        assert (str(again), again.kind, again.whole) == (str(first), first.kind, True)
        assert len(server.requests) == asked
        assert np.array_equal(files.read(other, everything, "x"), pixels(server))
        now[0] += lasts + 1
        assert np.array_equal(files.read(href, everything, "x"), pixels(server))


def test_a_server_that_nobody_reaches_is_not_waited_for_by_each_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    files = AssetFiles(QUICK)
    first = fails(files, "http://127.0.0.1:9/x.tif")
    assert (first.kind, first.whole, len(waits)) == ("transient", True, QUICK.attempts - 1)
    assert fails(files, "http://127.0.0.1:9/other.tif").whole
    assert len(waits) == QUICK.attempts - 1


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"II*\0" + bytes(40)])
def test_a_file_that_cannot_be_opened_has_no_window_that_can_be_read(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.tif").write_bytes(content)
    assert fails(AssetFiles(), str(tmp_path / "x.tif")).whole
    write_raster(tmp_path / "y.tif", noise(GRID, 1), GRID)
    damage_last_block(tmp_path / "y.tif")
    assert not fails(AssetFiles(), str(tmp_path / "y.tif")).whole
