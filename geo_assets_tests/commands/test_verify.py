from __future__ import annotations

import shutil

import pytest
import yaml

from geo_assets.storage.partition_lock import partition_lock


@pytest.fixture
def copied(finished, tmp_path, command, monkeypatch):
    """A copy of the finished results, to be damaged, and the command over it."""
    root = tmp_path / "results"
    shutil.copytree(finished.layout.root, root)
    monkeypatch.setenv("GEO_ASSETS_DATA", str(root))
    path = finished.campaign.areas.file.with_name("tiny.yaml")
    return root / finished.campaign.name, lambda path=path: command("verify", "-c", path)


def test_sound_chips_are_counted(copied):
    folder, verify = copied
    chips = len(list(folder.glob("chips/*/*/*.tif")))
    done = verify()
    assert done.exit_code == 0
    assert done.output == f"{chips} chips read and hashed, 0 corrupt\n"


def test_sound_chips_are_sound_without_composites_and_under_another_campaign(copied, finished):
    """Results that were copied, a campaign that was edited: what was published has not changed."""
    folder, verify = copied
    chips = len(list(folder.glob("chips/*/*/*.tif")))
    shutil.rmtree(folder / "composite_image")
    path = finished.campaign.areas.file.with_name("tiny.yaml")
    content = yaml.safe_load(path.read_text())
    content["chips"]["format"] = "zarr"
    content["composite"] |= {"bands": ["B04"], "dtype": "float32"}
    edited = path.with_name("edited.yaml")
    edited.write_text(yaml.safe_dump(content))
    done = verify(edited)
    assert done.exit_code == 0
    assert done.output == f"{chips} chips read and hashed, 0 corrupt\n"


def test_each_damaged_chip_is_named_with_its_damage(copied):
    folder, verify = copied
    gone, cut = sorted(folder.glob("chips/north/*/*.tif"))[:2]
    flipped = min(folder.glob("chips/south/*/*.tif"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-10])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    done = verify()
    assert done.exit_code == 1
    lines = done.output.splitlines()
    for chip, reason in (
        (gone, "its file is missing"),
        (cut, f"its file has {cut.stat().st_size} bytes instead of {cut.stat().st_size + 10}"),
        (flipped, "its file has another checksum"),
    ):
        key = f"{chip.parts[-3]}|{chip.parts[-2]}"
        assert f"corrupt {key} {chip.stem}: {reason}" in lines
    assert len(lines) == 5
    assert lines[3].endswith(" chips read and hashed, 3 corrupt")
    assert lines[4] == ("They are marked failed; materialize chip_catalog to restore exactly them.")
    assert verify().exit_code == 0


def test_a_partition_that_a_run_works_on_is_refused_in_one_line(copied):
    folder, verify = copied
    with partition_lock(folder / ".state/locks/chips/north/train.lock", run_id="a-run"):
        done = verify()
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: north|train: partition 'train' is locked: run a-run")
    assert len(done.stderr.splitlines()) == 1


def test_partitions_that_cannot_be_looked_at_hide_nothing_of_the_others(copied):
    folder, verify = copied
    damaged = min(folder.glob("chips/south/train/*.tif"))
    damaged.unlink()
    (folder / "chip_catalog/north/test.parquet").write_bytes(b"no table")
    with partition_lock(folder / ".state/locks/chips/north/train.lock", run_id="a-run"):
        done = verify()
    assert done.exit_code == 1
    line = f"corrupt south|train {damaged.stem}: its file is missing"
    assert line in done.stdout.splitlines()
    assert "1 corrupt" in done.stdout
    assert "north|train: partition 'train' is locked" in done.stderr
    assert "north|test: " in done.stderr


def test_before_any_run_there_is_nothing_to_verify(finished, command):
    done = command("verify", "-c", finished.campaign.areas.file.with_name("tiny.yaml"))
    assert done.exit_code == 0
    assert done.output == "0 chips read and hashed, 0 corrupt\n"
