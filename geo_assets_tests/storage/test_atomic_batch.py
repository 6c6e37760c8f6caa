from __future__ import annotations

import os

import pytest

from geo_assets.storage import atomic_batch
from geo_assets.storage.atomic import is_temporary
from geo_assets.storage.atomic_batch import publish_many


def test_every_file_gets_its_name_and_content(tmp_path):
    old = tmp_path / "a" / "old"
    old.parent.mkdir()
    old.write_bytes(b"before")
    publish_many({old: b"after", tmp_path / "b" / "c" / "new": [b"in", memoryview(b" parts")]})
    assert old.read_bytes() == b"after"
    assert (tmp_path / "b" / "c" / "new").read_bytes() == b"in parts"
    assert not [path for path in tmp_path.rglob("*") if is_temporary(path.name)]


def test_every_file_is_synced_before_the_first_is_renamed_and_its_folder_after(
    tmp_path, monkeypatch
):
    """What a power cut may find: nothing, or names of whole files."""
    steps = []
    sync, rename = os.fsync, type(tmp_path).rename

    def synced(descriptor):
        steps.append("sync folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "sync")  # noqa: PTH112  # a link of the kernel
        sync(descriptor)

    def renamed(path, target):
        steps.append(f"rename {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(type(tmp_path), "rename", renamed)
    publish_many({tmp_path / "first": b"1", tmp_path / "second": b"2"})
    assert steps == ["sync", "sync", "rename first", "rename second", "sync folder"]


@pytest.mark.parametrize("failing", ["write_file", "fsync"])
def test_an_error_leaves_no_temporary_and_what_was_there(tmp_path, monkeypatch, failing):
    (tmp_path / "first").write_bytes(b"before")
    calls = []

    def fail_at_the_second(*arguments, **_):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", fail_at_the_second)
    else:
        monkeypatch.setattr(atomic_batch, failing, fail_at_the_second)
    with pytest.raises(OSError, match="No space"):
        publish_many({tmp_path / "first": b"after", tmp_path / "second": b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert (tmp_path / "first").read_bytes() == b"before"
