from __future__ import annotations

import pytest

from geo_assets.errors import StorageError
from geo_assets.storage.file_version import version_of


def test_a_file_is_told_from_one_that_takes_its_name(tmp_path):
    path, other = tmp_path / "one", tmp_path / "other"
    path.write_bytes(b"same")
    other.write_bytes(b"same")
    with path.open("rb") as file:
        before = version_of(path)
        other.replace(path)
        assert version_of(file.fileno()) == before != version_of(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"gone\.tif: does not exist"):
        version_of(tmp_path / "gone.tif")
