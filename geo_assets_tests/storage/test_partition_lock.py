"""Two runs never work on one partition at once, and a dead one locks nobody out."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from geo_assets.errors import LockedError, StorageError
from geo_assets.storage import atomic
from geo_assets.storage import partition_lock as module
from geo_assets.storage.partition_lock import dead_owners, is_locked, partition_lock
from geo_assets_tests.conftest import REPOSITORY

HOLD = """
import sys
from pathlib import Path
from geo_assets.storage.partition_lock import partition_lock
with partition_lock(Path(sys.argv[1]), run_id="other-process"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "locks" / "north" / "train.lock"


@pytest.fixture
def holder(path):
    """A process that holds the lock until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_owner_of_a_held_lock_is_named(path, holder):
    assert is_locked(path)
    with (
        pytest.raises(LockedError, match=rf"run other-process \(process {holder.pid} on .*since"),
        partition_lock(path, run_id="mine"),
    ):
        pytest.fail("two runs hold one lock")


def test_kill_9_frees_the_lock(path, holder):
    holder.kill()
    holder.wait()
    assert not is_locked(path)
    with partition_lock(path, run_id="mine"):
        assert json.loads(path.with_suffix(".json").read_bytes())["run_id"] == "mine"


def test_a_lock_ends_with_its_block_even_by_an_error(path):
    def work():
        with partition_lock(path, run_id="mine"):
            assert is_locked(path)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert not is_locked(path)
    assert not path.with_suffix(".json").exists()


def test_a_partition_that_never_ran_is_not_locked(path):
    assert not is_locked(path)
    assert not path.exists()


def test_the_heart_beats_while_the_lock_is_held(path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.001)
    beaten = threading.Event()
    publish = module.publish_json
    beats = []

    def count(target, owner):
        publish(target, owner)
        beats.append(owner)
        if len(beats) > 2:
            beaten.set()

    monkeypatch.setattr(module, "publish_json", count)
    with partition_lock(path, run_id="mine"):
        assert beaten.wait(30)
        assert {owner["run_id"] for owner in beats} == {"mine"}
    assert not path.with_suffix(".json").exists()


def test_a_lock_that_is_looked_at_can_still_be_taken(path):
    stop = threading.Event()

    def look():
        while not stop.is_set():
            is_locked(path)

    onlooker = threading.Thread(target=look)
    with partition_lock(path, run_id="first"):
        pass
    onlooker.start()
    try:
        for _ in range(20):
            with partition_lock(path, run_id="mine"):
                assert path.with_suffix(".json").exists()
    finally:
        stop.set()
        onlooker.join()


def test_an_owner_that_cannot_be_written_frees_the_lock(path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "publish", full)
    with pytest.raises(StorageError, match="No space left"), partition_lock(path, run_id="mine"):
        pytest.fail("the lock has no owner")
    assert not is_locked(path)


def test_a_full_disk_costs_heartbeats_and_the_next_one_comes_all_the_same(path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.001)
    publish, full, refused, beaten = atomic.publish, *(threading.Event() for _ in range(3))

    @contextlib.contextmanager
    def publish_where_there_is_room(target):
        if full.is_set():
            refused.set()
            raise OSError(28, "No space left on device")
        with publish(target) as temporary:
            yield temporary
        beaten.set()

    monkeypatch.setattr(atomic, "publish", publish_where_there_is_room)
    with partition_lock(path, run_id="mine"):
        full.set()
        assert refused.wait(60)
        beaten.clear()
        full.clear()
        assert beaten.wait(60)


def test_a_killed_owner_is_known_until_the_next_one_has_the_lock(path, holder):
    folder = path.parents[1]
    assert dead_owners(folder) == set()
    holder.kill()
    holder.wait()
    assert dead_owners(folder) == {"other-process"}
    with partition_lock(path, run_id="next"):
        assert dead_owners(folder) == set()
    assert dead_owners(folder) == set()


@pytest.mark.parametrize(
    ("host", "silence", "dead"),
    [
        ("elsewhere", dt.timedelta(0), set()),
        ("elsewhere", dt.timedelta(days=2000), {"theirs"}),
        (socket.gethostname(), dt.timedelta(0), {"theirs"}),
    ],
    ids=["beats elsewhere", "silent elsewhere", "here without a lock"],
)
def test_of_an_owner_on_another_machine_the_heartbeat_is_asked(path, host, silence, dead):
    """Locks of some network filesystems are not seen by other machines."""
    path.parent.mkdir(parents=True)
    heartbeat = dt.datetime.now(dt.UTC) - silence
    owner = {"run_id": "theirs", "host": host, "heartbeat": heartbeat.isoformat()}
    path.with_suffix(".json").write_text(json.dumps(owner))
    assert dead_owners(path.parents[1]) == dead


def test_an_owner_that_cannot_be_read_is_nobody(path):
    path.parent.mkdir(parents=True)
    path.with_suffix(".json").write_text("{")
    assert dead_owners(path.parents[1]) == set()


def test_a_lock_for_which_there_is_no_folder_is_an_error_by_name(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "north" / "train.lock"
    with (
        pytest.raises(StorageError, match=rf"^{path}: cannot be written: Not a directory"),
        partition_lock(path, run_id="mine"),
    ):
        pass
