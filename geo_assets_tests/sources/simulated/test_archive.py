"""Publishing: once, whole or not at all, the same bytes wherever it is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geo_assets.errors import SourceError
from geo_assets.sources.simulated import ArchiveSpec, archive, write_archive
from geo_assets_tests.sources.simulated.conftest import SMALL


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_marker_alone(folder, spec, progress):  # noqa: ARG001 - the signature of the real one
    (folder / archive.MARKER).write_text(f'{{"digest": "{spec.digest()}"}}')


def test_a_complete_archive_is_left_untouched(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    write_archive(small, SMALL)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_two_processes_at_once_write_one_archive_with_the_bytes_of_any_other(small, tmp_path):
    code = (
        "import pathlib, sys\n"
        "from geo_assets.sources.simulated import ArchiveSpec, write_archive\n"
        "counts = []\n"
        "write_archive(pathlib.Path(sys.argv[1]), ArchiveSpec(seed=3, tile_size=240),"
        " lambda done, total: counts.append((done, total)))\n"
        "print(counts[-1] if counts else 'found')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "archive")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said == ["(61, 61)", "found"]
    assert contents(tmp_path / "archive") == contents(small)
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", ".archive.lock"}


def test_no_file_names_the_folder_it_was_written_to(small):
    texts = [path.read_text() for path in small.rglob("*json")]
    assert not [text for text in texts if str(small.parent) in text]


def test_a_failed_writing_leaves_nothing(tmp_path):
    def fail(done, total):  # noqa: ARG001 - the signature of a progress function
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(tmp_path / "archive", SMALL, fail)
    assert {path.name for path in tmp_path.iterdir()} <= {".archive.lock"}


def test_an_archive_of_another_spec_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_write_all", write_marker_alone)
    folder = tmp_path / "archive"
    write_archive(folder, ArchiveSpec(seed=1))
    (folder / "old.tif").touch()
    write_archive(folder, ArchiveSpec(seed=2))
    assert [path.name for path in folder.iterdir()] == [archive.MARKER]
    assert ArchiveSpec(seed=2).digest() in (folder / archive.MARKER).read_text()


def test_a_folder_of_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SourceError, match="not a simulated archive"):
        write_archive(Path(tmp_path), SMALL)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
