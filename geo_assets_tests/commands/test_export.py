from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from dataclasses import replace

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine

from geo_assets import open_catalog, open_chip
from geo_assets.resources import Results
from geo_assets.storage.chips.classic_folder import ClassicFolder
from geo_assets.storage.chips.expectation import Stretch
from geo_assets.storage.partition_lock import partition_lock
from geo_assets_tests.campaign_testing import write_campaign
from geo_assets_tests.chip_catalogs import store_of, write_chips
from geo_assets_tests.storage.chips.chip_testing import Reader, a_spec

NORTH = "Chips/tiny/north/train"
SOUTH = "Chips/tiny/south/train"


class Place:
    """A campaign with chips, its results, a folder to export to and the command."""

    def __init__(self, folder, command):
        self.folder = folder
        self.target = folder / "exported"
        self.layout = Results(data=str(folder / "data")).layout("tiny")
        self._command = command
        self.configure()

    def configure(self, **changes):
        self.campaign = write_campaign(self.folder, {"splits": ["train"]} | changes)

    def export(self, *arguments):
        return self._command(
            "export", "-c", self.campaign, "--layout", "classic", "--to", self.target, *arguments
        )

    def refused(self, *arguments):
        """Export, and return the one line that says why not."""
        done = self.export(*arguments)
        assert done.exit_code == 1, done.output
        (line,) = done.stderr.splitlines()
        return line.removeprefix("Error: ")

    def files(self):
        """What was exported: name -> inode and time."""
        return {
            path.relative_to(self.target).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in self.target.rglob("*")
            if path.is_file()
        }

    def chips(self, folder=NORTH):
        return sorted(path.name for path in (self.target / folder).iterdir())

    def index(self, folder="Chips/tiny/north", name="tiny.train.csv"):
        return pd.read_csv(self.target / folder / name)

    def source(self, number, key="north|train"):
        fold, split = key.split("|")
        return self.layout.chips_folder(fold, split) / f"{fold}-{split}-r0-c{number:05d}.tif"


@pytest.fixture
def place(tmp_path, command):
    """Three chips in the north, two in the south."""
    place = Place(tmp_path, command)
    write_chips(place.layout, "north|train", ok=3)
    write_chips(place.layout, "south|train", ok=2)
    return place


def test_every_chip_is_copied_under_its_number_in_the_order_of_ids(place):
    done = place.export()
    assert done.exit_code == 0, done.output
    for fold, count in (("north", 3), ("south", 2)):
        folder = f"Chips/tiny/{fold}/train"
        assert place.chips(folder) == [f"tiny_train_imgs_{n:05d}.tif" for n in range(count)]
        for number, name in enumerate(place.chips(folder)):
            source = place.source(number, f"{fold}|train")
            assert (place.target / folder / name).read_bytes() == source.read_bytes()
    assert done.output.splitlines() == [
        f"north|train: 3 chips in {place.target}/{NORTH}, 3 copied, 0 kept, 0 removed",
        f"south|train: 2 chips in {place.target}/{SOUTH}, 2 copied, 0 kept, 0 removed",
        "Which chip is which: tiny.train.csv and its like, beside the folders of chips",
    ]


def test_numbers_begin_where_they_are_told_to_in_each_partition(place):
    assert place.export("--start-index", 99_998).exit_code == 0
    assert place.chips() == [f"tiny_train_imgs_{n}.tif" for n in (100000, 99998, 99999)]
    assert place.chips(SOUTH) == [
        "tiny_train_imgs_99998.tif",
        "tiny_train_imgs_99999.tif",
    ]


@pytest.mark.parametrize(
    ("fold", "folder"),
    [("3", "fold3"), ("fold3", "fold3"), ("12", "fold12"), ("west", "west"), ("3b", "3b")],
)
def test_folders_are_named_by_domain_fold_and_split(tmp_path, command, fold, folder):
    place = Place(tmp_path, command)
    place.configure(folds=[fold], domain="TNZ")
    write_chips(place.layout, f"{fold}|train", ok=1)
    assert place.export().exit_code == 0
    assert set(place.files()) == {
        f"Chips/TNZ/{folder}/train/TNZ_train_imgs_00000.tif",
        f"Chips/TNZ/{folder}/tiny.train.csv",
    }


def test_two_folds_never_share_a_folder(tmp_path, command):
    place = Place(tmp_path, command)
    place.configure(folds=["3", "fold3"])
    for fold in ("3", "fold3"):
        write_chips(place.layout, f"{fold}|train", ok=1)
    assert place.refused() == "folds 3 and fold3 would share the folder fold3; rename one"
    assert not place.target.exists()


def test_the_index_says_everything_that_numbers_lose(place):
    place.export()
    catalog_path = place.layout.chip_catalog("north", "train")
    catalog = open_catalog(catalog_path)
    index = geopandas.read_file(place.target / "Chips/tiny/north/tiny.train.csv")
    assert index["chip_id"].tolist() == catalog["chip_id"].tolist()
    assert index.geometry.tolist() == catalog.geometry.tolist()
    for row in index.to_dict("records"):
        assert (row["fold"], row["split"], row["cluster"]) == ("north", "train", "0")
        pixels, grid = open_chip(catalog_path, row["chip_id"])
        with rasterio.open(place.target / "Chips/tiny/north" / row["file"]) as chip:
            np.testing.assert_array_equal(chip.read(), pixels)
            assert chip.crs == rasterio.CRS.from_user_input(row["crs"])
            assert chip.transform == Affine(*json.loads(row["transform"])) == grid.transform
        assert float(row["valid_fraction"]) == 1


def test_a_second_export_touches_nothing(place):
    place.export()
    before = place.files()
    done = place.export()
    assert "0 copied, 3 kept, 0 removed" in done.output
    assert place.files() == before


def test_one_fold_or_split_alone_leaves_the_others(place):
    assert place.export("--fold", "south").exit_code == 0
    assert not (place.target / NORTH).exists()
    before = place.files()
    assert place.export("--fold", "north", "--split", "train").exit_code == 0
    assert before.items() < place.files().items()


def test_chips_that_failed_are_left_out_and_counted(place):
    write_chips(place.layout, "north|train", ok=0)
    write_chips(place.layout, "north|train", ok=1, failed=["transient", "permanent"])
    done = place.export()
    assert done.exit_code == 0
    assert place.chips() == ["tiny_train_imgs_00000.tif"]
    assert "  2 failed chips are left out; materialize chip_catalog and export again" in done.output


def test_a_partition_without_chips_has_an_index_without_rows(place):
    write_chips(place.layout, "north|train", ok=0)
    assert place.export().exit_code == 0
    assert place.chips() == []
    assert place.index().empty


def test_chips_that_come_and_go_are_renumbered_with_their_index(place):
    place.export()
    south = place.index("Chips/tiny/south")
    catalog = store_of(place.layout, "north|train")
    catalog.converge([a_spec(number) for number in (1, 2, 3, 4)], Reader(), run_id="next")
    done = place.export()
    assert f"4 chips in {place.target}/{NORTH}, 4 copied, 0 kept, 0 removed" in done.output
    catalog.converge([a_spec(4)], Reader(), run_id="last")
    done = place.export()
    assert "1 copied, 0 kept, 3 removed" in done.output
    assert place.chips() == ["tiny_train_imgs_00000.tif"]
    assert place.index()["chip_id"].tolist() == ["north-train-r0-c00004"]
    assert (place.target / NORTH / "tiny_train_imgs_00000.tif").read_bytes() == (
        place.source(4).read_bytes()
    )
    pd.testing.assert_frame_equal(place.index("Chips/tiny/south"), south)


def test_an_export_that_somebody_changed_is_not_removed(place):
    place.export()
    mine = place.target / NORTH / "tiny_train_imgs_00002.tif"
    mine.write_bytes(b"my own work")
    write_chips(place.layout, "north|train", ok=1)
    done = place.export()
    assert "1 chips in" in done.output
    assert "0 copied, 1 kept, 1 removed" in done.output
    assert "train/tiny_train_imgs_00002.tif is no longer wanted, but stays" in done.output
    assert mine.read_bytes() == b"my own work"
    assert place.chips() == ["tiny_train_imgs_00000.tif", "tiny_train_imgs_00002.tif"]


def test_a_damaged_copy_is_restored(place):
    place.export()
    before = place.files()
    damaged = place.target / NORTH / "tiny_train_imgs_00001.tif"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    done = place.export()
    assert "1 copied, 2 kept, 0 removed" in done.output
    assert damaged.read_bytes() == place.source(1).read_bytes()
    unchanged = {name for name, stamp in place.files().items() if stamp == before[name]}
    assert set(before) - unchanged == {
        "Chips/tiny/north/train/tiny_train_imgs_00001.tif",
        "Chips/tiny/north/tiny.train.csv",
    }


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_somebody_else_put_there_is_never_overwritten(place, kind):
    """The south is refused before the north is written."""
    stranger = place.target / "Chips/tiny/south/train/tiny_train_imgs_00001.tif"
    stranger.parent.mkdir(parents=True)
    if kind == "file":
        stranger.write_bytes(b"downloaded in 2021")
    elif kind == "link":
        stranger.symlink_to("nowhere")
    else:
        stranger.mkdir()
    line = place.refused()
    assert line == (
        f"{stranger}: not of an earlier export of 'tiny', so nothing was written; choose a "
        "--start-index beyond them, or another folder"
    )
    assert [path for path in place.target.rglob("*") if not path.is_dir()] == (
        [] if kind == "folder" else [stranger]
    )
    assert place.export("--start-index", 2).exit_code == 0
    assert os.path.lexists(stranger)


def test_many_files_of_somebody_else_are_named_in_part(place):
    folder = place.target / NORTH
    folder.mkdir(parents=True)
    write_chips(place.layout, "north|train", ok=8)
    for number in range(7):
        (folder / f"tiny_train_imgs_{number:05d}.tif").write_bytes(b"x")
    assert " and 2 more: not of an earlier export of 'tiny'" in place.refused()


def test_a_lost_index_is_written_again_beside_the_same_chips(place):
    place.export()
    before = place.files()
    (place.target / "Chips/tiny/north/tiny.train.csv").unlink()
    done = place.export()
    assert "0 copied, 3 kept, 0 removed" in done.output
    after = place.files()
    assert set(after) == set(before)
    assert [name for name in before if after[name] != before[name]] == [
        "Chips/tiny/north/tiny.train.csv"
    ]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\xfe\x00"])
def test_a_table_of_somebody_else_is_not_replaced(place, content):
    table = place.target / "Chips/tiny/north/tiny.train.csv"
    table.parent.mkdir(parents=True)
    table.write_bytes(content)
    assert place.refused().startswith(f"{table}: ")
    assert table.read_bytes() == content
    assert not (place.target / NORTH).exists()


def test_an_index_cannot_point_at_files_elsewhere(place):
    """Whoever can write the table must not gain a way to remove other files."""
    place.export()
    (victim := place.target / "victim.tif").write_bytes(place.source(0).read_bytes())
    index = place.target / "Chips/tiny/north/tiny.train.csv"
    rows = index.read_text().replace("train/tiny_train_imgs_00000.tif", "../../../victim.tif")
    index.write_text(rows)
    assert place.export().exit_code == 0
    assert victim.exists()


def a_second(place, folder, command):
    """Another campaign of the same domain, which exports to the same folder."""
    (folder / "second").mkdir()
    second = Place(folder / "second", command)
    second.configure(domain="TNZ", name="later")
    second.target = place.target
    second.layout = Results(data=str(place.layout.root)).layout("later")
    return second


def test_two_campaigns_share_a_domain(place, tmp_path, command):
    place.configure(domain="TNZ")
    place.export()
    before = place.files()
    second = a_second(place, tmp_path, command)
    for fold in ("north", "south"):
        write_chips(second.layout, f"{fold}|train", ok=4)
    assert "not of an earlier export of 'later'" in second.refused("--start-index", 2)
    assert place.files() == before
    assert second.export("--start-index", 3).exit_code == 0
    assert before.items() < second.files().items()
    later = second.index("Chips/TNZ/north", "later.train.csv")
    assert later["file"].tolist() == [f"train/TNZ_train_imgs_{n:05d}.tif" for n in range(3, 7)]
    place.export()
    assert len(place.chips("Chips/TNZ/north/train")) == 7


def test_an_equal_chip_of_another_campaign_stays_when_ours_goes(place, tmp_path, command):
    place.configure(domain="TNZ")
    place.export()
    second = a_second(place, tmp_path, command)
    for fold in ("north", "south"):
        write_chips(second.layout, f"{fold}|train", ok=3)
    assert second.export().exit_code == 0
    assert len(second.index("Chips/TNZ/north", "later.train.csv")) == 3
    write_chips(place.layout, "north|train", ok=1)
    assert place.export().exit_code == 0
    listed = second.index("Chips/TNZ/north", "later.train.csv")["file"]
    assert all((place.target / "Chips/TNZ/north" / file).is_file() for file in listed)


def test_chips_of_an_export_that_was_killed_stay_when_another_campaigns_go(
    place, tmp_path, command
):
    place.configure(domain="TNZ")
    place.export()
    second = a_second(place, tmp_path, command)
    for fold in ("north", "south"):
        write_chips(second.layout, f"{fold}|train", ok=3)
    second.export()
    # What a kill leaves: no table, but the record of what was to be in it.
    table = place.target / "Chips/TNZ/north/later.train.csv"
    files = {row.file: [row.sha256] for row in second.index(table.parent, table.name).itertuples()}
    table.with_name(".later.train.unfinished.json").write_text(json.dumps(files))
    table.unlink()
    write_chips(place.layout, "north|train", ok=1)
    assert place.export().exit_code == 0
    assert all((table.parent / file).is_file() for file in files)


def test_a_name_that_another_campaign_took_meanwhile_is_not_taken_back(place, tmp_path, command):
    place.configure(domain="TNZ")
    place.export()
    second = a_second(place, tmp_path, command)
    for fold in ("north", "south"):
        shutil.rmtree(place.target / f"Chips/TNZ/{fold}/train")
        write_chips(second.layout, f"{fold}|train", ok=3)
    assert second.export("--start-index", 1).exit_code == 0
    before = place.files()
    assert re.search(r"imgs_00001\.tif, .*imgs_00002\.tif: not of an earlier", place.refused())
    assert place.files() == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), "its file cannot be read: No such file or directory"),
        (lambda file: file.write_bytes(file.read_bytes()[:-3]), "bytes instead of"),
    ],
    ids=["gone", "truncated"],
)
def test_damage_that_the_folder_shows_is_told_before_anything_is_written(place, damage, words):
    damage(place.source(1, "south|train"))
    line = place.refused()
    assert line.startswith("south|train south-train-r0-c00001: ")
    assert words in line
    assert line.endswith("; run geo-assets verify, materialize chip_catalog and export again")
    assert not place.target.exists()


def test_a_flipped_bit_is_not_copied(place):
    file = place.source(1)
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    line = place.refused("--fold", "north")
    assert line.startswith("north|train north-train-r0-c00001: its file has another checksum; ")
    assert place.chips() == ["tiny_train_imgs_00000.tif"]
    assert not (place.target / "Chips/tiny/north/tiny.train.csv").exists()
    before = place.files()
    file.write_bytes(good)
    assert "2 copied, 1 kept, 0 removed" in place.export("--fold", "north").output
    name = f"{NORTH}/tiny_train_imgs_00000.tif"
    assert place.files()[name] == before[name]


class Killed(BaseException):
    """Ends a process as it stands."""


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_killed_export_has_no_index_and_is_completed_by_the_next(place, monkeypatch, copies):
    """Also where the chips of an earlier export are replaced by others."""
    place.export("--fold", "north")
    store_of(place.layout, "north|train").converge(
        [a_spec(number) for number in (1, 2, 3)], Reader(), run_id="next"
    )
    publish = ClassicFolder.publish

    def dies(self, plan, progress):
        done = itertools.count(1)

        def tell():
            progress()
            if next(done) == copies:
                raise Killed

        return publish(self, plan, tell)

    with monkeypatch.context() as patch:
        patch.setattr(ClassicFolder, "publish", dies)
        with pytest.raises(Killed):
            place.export("--fold", "north")
    assert not (place.target / "Chips/tiny/north/tiny.train.csv").exists()
    leftover = place.target / NORTH / f".tiny_train_imgs_00002.tif.{'0' * 16}.tmp"
    leftover.write_bytes(b"half a chip")
    write_chips(place.layout, "north|train", ok=2)
    done = place.export("--fold", "north")
    assert done.exit_code == 0, done.output
    assert place.chips() == ["tiny_train_imgs_00000.tif", "tiny_train_imgs_00001.tif"]
    assert set(place.files()) == {
        f"{NORTH}/tiny_train_imgs_00000.tif",
        f"{NORTH}/tiny_train_imgs_00001.tif",
        "Chips/tiny/north/tiny.train.csv",
    }
    for number in (0, 1):
        copied = place.target / NORTH / f"tiny_train_imgs_{number:05d}.tif"
        assert copied.read_bytes() == place.source(number).read_bytes()


def test_a_record_that_cannot_be_read_is_named(place):
    record = place.target / "Chips/tiny/north/.tiny.train.unfinished.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    assert place.refused().startswith(f"{record}: no readable record: ")


@pytest.mark.parametrize("chip_format", ["npy", "png", "jpg", "zip"])
def test_every_format_keeps_its_suffix(place, chip_format):
    store = store_of(place.layout, "north|train")
    stretch = Stretch((0, 1, 0), (0, 0, 0), (200, 200, 200))
    encoding = replace(store.encoding, format=chip_format, stretch=stretch)
    replace(store, encoding=encoding).converge([a_spec(0)], Reader(), run_id="test")
    assert place.export("--fold", "north").exit_code == 0
    assert place.chips() == [f"tiny_train_imgs_00000.{chip_format}"]
    copied = place.target / NORTH / f"tiny_train_imgs_00000.{chip_format}"
    assert copied.read_bytes() == place.source(0).with_suffix(f".{chip_format}").read_bytes()
    place.index()


def test_a_partition_that_has_no_catalog_yet_is_named_before_anything_is_written(place):
    place.configure(splits=["train", "test"])
    path = place.layout.chip_catalog("north", "test")
    assert place.refused() == (
        f"north|test: has no chips yet ({path} does not exist); materialize chip_catalog first, "
        "or choose with --fold and --split"
    )
    assert not place.target.exists()
    assert place.export("--split", "train").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--fold", "east"), "--fold 'east': allowed are north, south"),
        (("--split", "test"), "--split 'test': allowed are train"),
    ],
)
def test_unknown_folds_and_splits_are_named(place, arguments, line):
    assert place.refused(*arguments) == line


def test_results_are_no_place_for_an_export(place):
    place.target = place.layout.folder / "out"
    assert place.refused() == (f"{place.target}: lies among the results of tiny; export elsewhere")


def test_a_run_at_work_is_waited_for(place):
    lock = place.layout.lock("chips", "north", "train")
    with partition_lock(lock, run_id="a-run"):
        line = place.refused()
    assert line.startswith("north|train: partition 'train' is locked: run a-run")
    assert not place.target.exists()


def test_a_folder_that_cannot_be_made_is_one_readable_line(place):
    place.target.mkdir()
    (place.target / "Chips").write_text("")
    assert "cannot be written: " in place.refused()


@pytest.mark.parametrize(
    "arguments",
    [("--layout", "modern", "--to", "x"), ("--layout", "classic"), ("--to", "x")],
)
def test_a_call_without_layout_or_folder_shows_the_usage(command, arguments):
    done = command("export", *arguments)
    assert done.exit_code == 2
    assert "Usage: " in done.stderr


def test_chips_in_a_zarr_store_are_refused_before_anything_is_written(place):
    store = store_of(place.layout, "north|train")
    encoding = replace(store.encoding, format="zarr")
    replace(store, encoding=encoding).converge([a_spec(0)], Reader(), run_id="test")
    line = place.refused()
    assert line.startswith("train.parquet of north: its chips lie in one Zarr store")
    assert "chips.format" in line
    assert not place.target.exists()
