"""Files written past the page cache hold what was given, whatever the filesystem makes of it."""

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.storage import uncached_files
from geo_assets.storage.uncached_files import LEAST_BYTES, write_file
from geo_assets_tests.conftest import REPOSITORY

MEBIBYTE = 1024**2
MEMORY = Path("/dev", "shm")


def goes_directly(folder: Path) -> bool:
    """Whether the filesystem of a folder takes a block directly."""
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            flags = fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT
            fcntl.fcntl(file, fcntl.F_SETFL, flags)
        except (AttributeError, OSError):
            return False
        return True


def in_the_cache(path: Path, offset: int) -> bool:
    """Whether the system can give a page of a file without asking the disk."""
    with path.open("rb", buffering=0) as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False
        except OSError:
            pytest.skip("this filesystem does not say what lies in the cache")


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(
        st.one_of(
            st.integers(0, 3 * MEBIBYTE),
            st.sampled_from([0, 1, 4095, 4096, LEAST_BYTES, 2 * MEBIBYTE, 2 * MEBIBYTE + 1]),
        ),
        max_size=5,
    ),
    sync=st.booleans(),
)
def test_a_file_is_its_parts(tmp_path_factory, sizes, sync):
    path = tmp_path_factory.mktemp("files") / "file"
    parts = [os.urandom(size) for size in sizes]
    write_file(path, *parts, sync=sync)
    assert path.read_bytes() == b"".join(parts)


def test_parts_may_be_views_of_arrays(tmp_path):
    values = memoryview(os.urandom(MEBIBYTE)).cast("i", (512, 512))
    write_file(tmp_path / "file", values, b"end")
    assert (tmp_path / "file").read_bytes() == values.tobytes() + b"end"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no RWF_NOWAIT")
def test_a_large_file_leaves_no_page_in_the_cache_but_its_end(tmp_path):
    if not goes_directly(tmp_path):
        pytest.skip("this filesystem writes nothing directly")
    large, small = tmp_path / "large", tmp_path / "small"
    write_file(large, os.urandom(MEBIBYTE + 5))
    write_file(small, os.urandom(LEAST_BYTES - 1))
    assert not in_the_cache(large, 0)
    assert not in_the_cache(large, MEBIBYTE - 1)
    assert in_the_cache(large, MEBIBYTE)
    assert in_the_cache(small, 0)


def test_where_the_filesystem_refuses_the_flag_the_cache_takes_it(tmp_path, monkeypatch):
    control = fcntl.fcntl

    def refusing(file, command, *argument):
        if argument and argument[0] & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return control(file, command, *argument)

    monkeypatch.setattr(uncached_files.fcntl, "fcntl", refusing)
    content = os.urandom(MEBIBYTE + 5)
    write_file(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == content


def test_where_the_system_knows_no_such_flag_the_cache_takes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(uncached_files, "_O_DIRECT", 0)
    content = os.urandom(MEBIBYTE + 5)
    write_file(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == content


def test_where_the_flag_is_taken_and_no_write_the_cache_takes_it(tmp_path, monkeypatch):
    write, refused = os.write, []

    def refusing(file, data):
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(len(data))
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(file, data)

    monkeypatch.setattr(uncached_files.os, "write", refusing)
    content = os.urandom(5 * MEBIBYTE + 5)
    write_file(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == content
    assert len(refused) == goes_directly(tmp_path)


@pytest.mark.parametrize("step", [4096, 12_345])
def test_what_the_system_takes_in_parts_is_whole(tmp_path, monkeypatch, step):
    write = os.write
    monkeypatch.setattr(uncached_files.os, "write", lambda file, data: write(file, data[:step]))
    content = os.urandom(2 * MEBIBYTE + 5)
    write_file(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == content


def test_processes_that_are_forked_do_not_write_over_each_other(tmp_path):
    # In a process of its own: pytest has threads.
    script = f"""
import os
from pathlib import Path
from geo_assets.storage.uncached_files import write_file
folder = Path({str(tmp_path)!r})
write_file(folder / "parent", bytes(2 * {MEBIBYTE}))
for number in (1, 2):
    if os.fork() == 0:
        for turn in range(20):
            write_file(folder / f"{{number}}-{{turn}}", bytes([number]) * (8 * {MEBIBYTE}))
        os._exit(0)
for _ in range(2):
    assert os.wait()[1] == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=REPOSITORY)
    for number in (1, 2):
        for turn in range(20):
            content = (tmp_path / f"{number}-{turn}").read_bytes()
            assert content.count(number) == 8 * MEBIBYTE, (number, turn)


def test_a_full_disk_is_told_of(tmp_path, monkeypatch):
    write, written = os.write, []

    def filling(file, data):
        written.append(len(data))
        if len(written) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(uncached_files.os, "write", filling)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "file", os.urandom(5 * MEBIBYTE))


def test_a_file_that_exists_stays_as_it_is(tmp_path):
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", os.urandom(MEBIBYTE))
    assert (tmp_path / "file").read_bytes() == b"before"


@pytest.mark.skipif(not MEMORY.is_dir(), reason="there is no filesystem in memory")
def test_a_filesystem_in_memory_takes_files_too():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        content = os.urandom(3 * MEBIBYTE + 5)
        write_file(Path(folder, "file"), content)
        assert Path(folder, "file").read_bytes() == content
