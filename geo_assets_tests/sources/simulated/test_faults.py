"""The planted faults: what cannot be read, and what repairing does."""

from __future__ import annotations

import json
import shutil

import pytest
import rasterio
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from geo_assets.errors import SourceError
from geo_assets.sources.simulated import repair_archive

DAMAGED = "items/S2A_33UTQ_20210718_0_L2A/B04.tif"


def test_exactly_the_recorded_block_of_the_damaged_file_cannot_be_read(archive):
    faults = json.loads((archive / "truth" / "faults.json").read_text())
    (fault,) = [fault for fault in faults if fault["repairable"]]
    assert f"items/{fault['item']}/{fault['asset']}.tif" == DAMAGED
    bad = Window(**fault["window"])
    with rasterio.open(archive / DAMAGED) as file:
        for _, window in file.block_windows(1):
            if window == bad:
                with pytest.raises(RasterioIOError):
                    file.read(1, window=window)
            else:
                assert file.read(1, window=window).min() > 0


def test_all_other_files_can_be_read_in_full(small):
    for path in small.glob("items/*/*.tif"):
        if path != small / DAMAGED:
            with rasterio.open(path) as file:
                file.read(1)


def test_repair_heals_the_damaged_file_alone_and_only_once(small, tmp_path):
    folder = tmp_path / "archive"
    shutil.copytree(small, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tif")}
    assert repair_archive(folder) == [DAMAGED]
    assert repair_archive(folder) == []
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tif")}
    assert [path for path in after if after[path] != before[path]] == [folder / DAMAGED]
    with rasterio.open(folder / DAMAGED) as file:
        assert file.read(1).min() > 0


def test_a_healed_file_agrees_with_its_neighbouring_band(archive, tmp_path):
    """The healed block continues the red of the blocks beside it: same bytes as never damaged."""
    folder = tmp_path / "archive"
    shutil.copytree(archive / "items/S2A_33UTQ_20210718_0_L2A", folder / DAMAGED[:-8])
    shutil.copytree(archive / "spare", folder / "spare")
    shutil.copyfile(archive / "archive.json", folder / "archive.json")
    repair_archive(folder)
    with rasterio.open(archive / DAMAGED) as damaged, rasterio.open(folder / DAMAGED) as healed:
        assert healed.profile == damaged.profile
        left = Window(0, 0, 512, 768)
        assert (healed.read(1, window=left) == damaged.read(1, window=left)).all()


def test_repairing_what_is_no_archive_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no simulated archive"):
        repair_archive(tmp_path)
