from __future__ import annotations

from geo_assets.storage.leftovers import remove_all_but


def test_what_was_not_published_goes_and_the_rest_stays(tmp_path):
    for name in ("cluster-0.tif", "cluster-1.tif", ".cluster-1.tif.0123456789abcdef.tmp"):
        (tmp_path / name).write_text(name)
    store = tmp_path / "cluster-2.zarr"
    (store / "c").mkdir(parents=True)
    (store / "c/0").write_text("chunk")
    removed = remove_all_but(tmp_path, [tmp_path / "cluster-0.tif"])
    assert [path.name for path in tmp_path.iterdir()] == ["cluster-0.tif"]
    assert [path.name for path in removed] == [
        ".cluster-1.tif.0123456789abcdef.tmp",
        "cluster-1.tif",
        "cluster-2.zarr",
    ]


def test_a_kept_folder_stays_whole(tmp_path):
    (tmp_path / "cluster-0").mkdir()
    (tmp_path / "cluster-0/2021-05-01.tif").write_text("labels")
    assert remove_all_but(tmp_path, [tmp_path / "cluster-0"]) == []
    assert (tmp_path / "cluster-0/2021-05-01.tif").read_text() == "labels"


def test_a_path_spelled_otherwise_is_kept_too(tmp_path):
    (tmp_path / "kept").write_text("")
    assert remove_all_but(tmp_path / "." / "", [tmp_path / "x/../kept"]) == []


def test_of_a_link_the_link_is_removed_and_not_what_it_points_to(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    folder.mkdir()
    (folder / "link").symlink_to(elsewhere)
    remove_all_but(folder, [])
    assert not list(folder.iterdir())
    assert (elsewhere / "file").read_text() == "mine"


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path):
    assert remove_all_but(tmp_path / "nothing", []) == []
