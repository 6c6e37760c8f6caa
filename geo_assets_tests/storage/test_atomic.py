"""Publication is whole or not at all, whatever the moment of a kill or a full disk."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from geo_assets.errors import StorageError
from geo_assets.storage import atomic
from geo_assets.storage.atomic import (
    is_temporary,
    publish,
    publish_bytes,
    publish_directory,
    publish_json,
    sha256_of,
    sweep_temporaries,
    sweep_temporaries_of,
)

if TYPE_CHECKING:
    from pathlib import Path

# Publishes a directory of three files, and dies by SIGKILL just before the n-th thing that it
# asks of the operating system. Exit status 0: it asked for fewer.
KILLED_AT_NTH_EVENT = """
import os, signal, sys
from pathlib import Path
from geo_assets.storage import atomic

nth, exchange, kind, path = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
if exchange == "two renames":
    atomic._exchange = lambda first, second: False
count = 0

def kill_at_nth(event, arguments):
    global count
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.listdir",
                 "os.scandir", "shutil.rmtree", "ctypes.dlsym"):
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill_at_nth)
if kind == "directory":
    with atomic.publish_directory(path) as store:
        (store / "inner").mkdir()
        for name in ("a", "b", "inner/c"):
            (store / name).write_text("new")
else:
    with atomic.publish(path) as file:
        file.write_text("new")
"""


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def contents(store: Path) -> dict[str, str]:
    return {
        str(file.relative_to(store)): file.read_text()
        for file in store.rglob("*")
        if file.is_file()
    }


def write_generation(store: Path, text: str) -> None:
    (store / "inner").mkdir(exist_ok=True)
    for name in ("a", "b", "inner/c"):
        (store / name).write_text(text)


OLD = {"a": "old", "b": "old", "inner/c": "old"}
NEW = {"a": "new", "b": "new", "inner/c": "new"}


@pytest.mark.parametrize("way", ["one exchange", "two renames"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_directory(tmp_path: Path, way: str) -> None:
    seen = set()
    for nth in range(1, 100):
        folder = tmp_path / str(nth)
        path = folder / "cube.zarr"
        path.mkdir(parents=True)
        write_generation(path, "old")
        command = [sys.executable, "-c", KILLED_AT_NTH_EVENT, str(nth), way, "directory", str(path)]
        status = subprocess.run(command, check=False).returncode
        if way == "one exchange":
            assert contents(path) in (OLD, NEW), f"killed before event {nth}"
        sweep_temporaries(folder)
        assert contents(path) in (OLD, NEW), f"killed before event {nth}"
        assert entries(folder) == ["cube.zarr"]
        seen.add(contents(path)["a"])
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail("the publication never came to its end")
    assert seen == {"old", "new"}


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    for nth in range(1, 100):
        path = tmp_path / str(nth) / "table.parquet"
        publish_bytes(path, b"old")
        command = [sys.executable, "-c", KILLED_AT_NTH_EVENT, str(nth), "", "file", str(path)]
        status = subprocess.run(command, check=False).returncode
        assert path.read_text() in {"old", "new"}
        sweep_temporaries_of(path)
        assert entries(path.parent) == ["table.parquet"]
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert path.read_text() == "new"


def test_a_first_directory_that_was_killed_leaves_nothing_under_the_final_name(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cube.zarr"
    command = [sys.executable, "-c", KILLED_AT_NTH_EVENT, "4", "", "directory", str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not path.exists()
    assert all(is_temporary(name) for name in entries(tmp_path))
    assert sweep_temporaries(tmp_path) == 1
    assert entries(tmp_path) == []


def test_readers_always_find_a_directory_while_it_is_exchanged(tmp_path: Path) -> None:
    path = tmp_path / "cube.zarr"
    with publish_directory(path) as store:
        write_generation(store, "0")
    done = threading.Event()
    missed: list[str] = []

    def read() -> None:
        while not done.is_set():
            if not path.is_dir():
                missed.append("gone")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for generation in range(1, 40):
            with publish_directory(path) as store:
                write_generation(store, str(generation))
    finally:
        done.set()
        reader.join()
    assert missed == []
    assert set(contents(path).values()) == {"39"}


def test_a_reader_that_has_the_directory_open_sees_one_generation(tmp_path: Path) -> None:
    path = tmp_path / "cube.zarr"
    with publish_directory(path) as store:
        write_generation(store, "old")
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with publish_directory(path) as store:
            write_generation(store, "new")
        # What is still there is the old generation's, never the new one's.
        assert os.listdir(opened) == []  # noqa: PTH208 -- pathlib cannot list a descriptor
    finally:
        os.close(opened)


def test_a_full_disk_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish_bytes, publish_directory
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
for write in ("file", "directory"):
    try:
        if write == "file":
            publish_bytes(folder / "file", bytes(5000))
        else:
            with publish_directory(folder / "directory") as store:
                (store / "small").write_bytes(bytes(10))
                (store / "large").write_bytes(bytes(5000))
    except (OSError, StorageError) as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    # What fills a directory writes files of its own, and names them.
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'file'}: cannot be written: File too large",
        "[Errno 27] File too large",
    ]
    assert entries(tmp_path) == []


def fail_half_way(path: Path) -> None:
    with publish(path) as temporary:
        temporary.write_bytes(b"new")
        raise RuntimeError


def interrupt_half_way(path: Path) -> None:
    with publish_directory(path) as temporary:
        write_generation(temporary, "new")
        raise KeyboardInterrupt


def test_an_exception_leaves_what_lay_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    publish_bytes(path, b"old")
    store = tmp_path / "store"
    with publish_directory(store) as temporary:
        write_generation(temporary, "old")
    with pytest.raises(RuntimeError):
        fail_half_way(path)
    with pytest.raises(KeyboardInterrupt):
        interrupt_half_way(store)
    assert path.read_bytes() == b"old"
    assert contents(store) == OLD
    assert entries(tmp_path) == ["file", "store"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing was written"), publish(tmp_path / "file"):
        pass
    assert entries(tmp_path) == []


def test_a_file_is_not_replaced_by_a_directory(tmp_path: Path) -> None:
    publish_bytes(tmp_path / "name", b"file")
    with (
        pytest.raises(StorageError, match="a file lies where"),
        publish_directory(tmp_path / "name") as store,
    ):
        write_generation(store, "new")
    assert entries(tmp_path) == ["name"]


def test_a_temporary_lies_in_the_same_directory_under_a_hidden_name(tmp_path: Path) -> None:
    with publish(tmp_path / "chip.tif") as temporary:
        temporary.write_bytes(b"x")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".chip.tif.")
        assert temporary.name.endswith(".tmp")
        assert is_temporary(temporary.name)
    assert not is_temporary("chip.tif")


def test_json_is_sorted_and_ends_with_a_newline(tmp_path: Path) -> None:
    publish_json(tmp_path / "a.json", {"b": 1, "a": "Döberitz"})
    publish_json(tmp_path / "b.json", {"a": "Döberitz", "b": 1})
    text = (tmp_path / "a.json").read_bytes()
    assert text == (tmp_path / "b.json").read_bytes()
    assert json.loads(text) == {"a": "Döberitz", "b": 1}
    assert text.endswith(b"}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_say_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(StorageError, match="JSON"):
        publish_json(tmp_path / "a.json", {"value": value})
    assert entries(tmp_path) == []


def test_sweeping_one_name_leaves_the_temporaries_of_others(tmp_path: Path) -> None:
    mine = tmp_path / ".train.parquet.0123456789abcdef.tmp"
    other = tmp_path / ".test.parquet.0123456789abcdef.tmp"
    for file in (mine, other, tmp_path / "train.parquet", tmp_path / "notes.tmp"):
        file.write_text("x")
    assert sweep_temporaries_of(tmp_path / "train.parquet") == 1
    assert entries(tmp_path) == sorted([other.name, "notes.tmp", "train.parquet"])
    assert sweep_temporaries_of(tmp_path / "absent" / "train.parquet") == 0


def test_sweeping_a_folder_goes_below(tmp_path: Path) -> None:
    (tmp_path / "cluster-0" / ".cube.zarr.0123456789abcdef.tmp" / "c").mkdir(parents=True)
    (tmp_path / "cluster-0" / ".a.tif.0123456789abcdef.tmp").write_text("x")
    (tmp_path / "cluster-0" / "a.tif").write_text("x")
    assert sweep_temporaries(tmp_path) == 2
    assert entries(tmp_path / "cluster-0") == ["a.tif"]
    assert sweep_temporaries(tmp_path / "absent") == 0


def test_a_system_without_exchange_is_told_by_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        def __init__(self, *_: object, **__: object) -> None: ...

    monkeypatch.setattr(atomic.ctypes, "CDLL", Library)
    for text in ("old", "new"):
        with publish_directory(tmp_path / "store") as store:
            write_generation(store, text)
    assert contents(tmp_path / "store") == NEW
    assert entries(tmp_path) == ["store"]


def test_checksums_are_those_of_hashlib(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(tmp_path / "file") == digest
