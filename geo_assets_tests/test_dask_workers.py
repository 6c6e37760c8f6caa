"""A scheduler and two workers of their own do what threads do, and what goes wrong is told."""

from __future__ import annotations

import os
import signal
import socketserver
import threading
import time

import numpy as np
import pytest
from distributed import get_worker

from geo_assets.compute import ComputeChoice
from geo_assets.core.workers import Threads
from geo_assets.dask_cluster import connect, open_cluster
from geo_assets.dask_workers import CODE, Agreement, DaskWorkers
from geo_assets.errors import ComputeError, ReadError
from geo_assets_tests.dask_processes import DEADLINE_S, dask_processes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_processes(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture
def choice(cluster):
    cluster.heal()
    return ComputeChoice("address", cluster.address)


@pytest.fixture
def workers(choice, tmp_path):
    with open_cluster(choice, tmp_path) as opened:
        yield opened


def test_results_are_those_of_threads_in_the_order_of_the_tasks(workers):
    def work(task):
        return np.full((2, 3), task, "uint16")

    tasks = [(5 * number) % 17 for number in range(17)]
    ours, theirs = (list(each.map(work, tasks)) for each in (Threads(2), workers))
    np.testing.assert_array_equal(ours, theirs)
    assert theirs[0].dtype == np.uint16


def test_tasks_are_done_in_other_processes(workers, cluster):
    pids = set(workers.map(lambda _: os.getpid(), range(20)))
    assert pids <= {process.pid for process in cluster.workers}


def test_only_a_few_tasks_are_taken_ahead_of_the_results(workers):
    taken = []

    def tasks():
        for number in range(1000):
            taken.append(number)
            yield number

    results = workers.map(abs, tasks())
    assert next(results) == 0
    assert len(taken) <= 8
    results.close()


def test_tasks_that_nobody_wants_any_more_are_dropped(workers, tmp_path):
    (tmp_path / "done").mkdir()

    def work(number):
        (tmp_path / "done" / str(number)).touch()
        return number

    results = workers.map(work, range(1000))
    assert next(results) == 0
    results.close()
    assert list(workers.map(abs, [-7])) == [7]
    assert len(list((tmp_path / "done").iterdir())) <= 8


def test_a_function_is_unpacked_once_in_each_worker(workers):
    """What a source keeps (tokens, catalogs) must not be fetched again for each block."""

    class Counting:
        calls = 0

        def __call__(self, _):
            self.calls += 1
            return os.getpid(), self.calls

    results = list(workers.map(Counting(), range(12)))
    for pid in {pid for pid, _ in results}:
        counts = [count for each, count in results if each == pid]
        assert sorted(counts) == list(range(1, len(counts) + 1))


def test_gdal_keeps_to_a_share_of_a_workers_memory(workers):
    """By itself it takes 5 % of the machine's in each process: more than a small worker has."""
    assert set(workers.map(lambda _: os.environ["GDAL_CACHEMAX"], range(4))) == {"192"}


def test_the_exception_of_a_task_is_raised_as_itself_at_its_turn(workers):
    def work(task):
        if task == 2:
            raise ReadError("B04.tif: is missing", kind="permanent", scene_id="S2A")
        return task

    results = workers.map(work, range(1000))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ReadError, match="B04") as raised:
        next(results)
    assert str(raised.value) == "B04.tif: is missing"
    assert (raised.value.kind, raised.value.scene_id) == ("permanent", "S2A")
    (note,) = raised.value.__notes__
    assert note.startswith("On worker tcp://127.0.0.1:")
    assert "in work" in note


@pytest.mark.parametrize("kind", [TimeoutError, OSError, KeyError, MemoryError])
def test_exceptions_that_the_cluster_raises_too_are_not_mistaken_for_its_own(workers, kind):
    def work(_):
        raise kind("of the task")

    with pytest.raises(kind, match="of the task"):
        list(workers.map(work, [1]))


def test_an_exception_that_cannot_be_sent_is_told_in_words(workers):
    def work(_):
        error = RuntimeError("holds a lock")
        error.lock = threading.Lock()
        raise error

    with pytest.raises(ComputeError, match="RuntimeError: holds a lock"):
        list(workers.map(work, [1]))


def test_what_cannot_be_sent_is_refused_before_anything_is(workers):
    lock = threading.Lock()
    with pytest.raises(ComputeError, match=r"a function cannot be sent .*lock"):
        list(workers.map(lambda _: lock, [1]))
    with pytest.raises(ComputeError, match=r"a task of abs cannot be sent .*lock"):
        list(workers.map(abs, [lock]))


def test_a_task_whose_module_the_worker_lacks_is_told(workers, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def work(task):\n    return task\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]  # just written

    with pytest.raises(ComputeError, match=r"worker tcp://.* cannot load a task: .*only_here"):
        list(workers.map(only_here.work, [1]))


def test_a_worker_that_dies_costs_no_result(workers, cluster, tmp_path):
    reached = tmp_path / "reached"

    def work(task):
        if task == 20:
            reached.touch()
        return task * 10

    def kill():
        deadline = time.monotonic() + DEADLINE_S
        while not reached.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        cluster.kill(0)

    killer = threading.Thread(target=kill)
    killer.start()
    assert list(workers.map(work, range(300))) == [10 * task for task in range(300)]
    killer.join()
    assert list(workers.map(abs, [-1, -2, -3])) == [1, 2, 3]


def test_a_worker_that_comes_later_helps(choice, cluster, tmp_path):
    cluster.kill(1)
    with open_cluster(choice, tmp_path) as workers:
        cluster.heal()
        pids = set(workers.map(lambda _: (time.sleep(0.05), os.getpid())[1], range(40)))
    assert pids == {process.pid for process in cluster.workers}


def test_a_task_that_kills_its_workers_is_given_up(tmp_path):
    """Four workers die of it, then the run ends with a message instead of going on for ever."""
    with dask_processes(tmp_path / "dask", workers=5) as cluster:
        choice = ComputeChoice("address", cluster.address)
        with (
            open_cluster(choice, tmp_path) as workers,
            pytest.raises(ComputeError, match="a task was given up: 4 workers died"),
        ):
            list(workers.map(lambda _: os.kill(os.getpid(), signal.SIGKILL), [1]))


def test_without_any_worker_left_the_run_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("geo_assets.dask_workers.LOOK_S", 0.2)
    with dask_processes(tmp_path / "dask", workers=1) as cluster, cluster.client() as client:
        (tmp_path / "token").touch()
        agreement = Agreement(CODE, str(tmp_path / "token"))
        workers = DaskWorkers(client, agreement, patience_s=0.5)
        results = workers.map(abs, range(1000))
        next(results)
        cluster.kill(0)
        with pytest.raises(ComputeError, match=r"no worker has been at tcp://.* for 0 s"):
            list(results)


def test_a_task_that_waits_for_a_paused_worker_ends_the_run(tmp_path, monkeypatch):
    """What a paused worker does it ends, however long that takes; then it begins nothing."""

    def work(_):
        get_worker().memory_manager.memory_pause_fraction = 1e-6
        time.sleep(4)
        return os.getpid()

    monkeypatch.setattr("geo_assets.dask_workers.LOOK_S", 0.2)
    with dask_processes(tmp_path / "dask", workers=1) as cluster, cluster.client() as client:
        (tmp_path / "token").touch()
        agreement = Agreement(CODE, str(tmp_path / "token"))
        results = DaskWorkers(client, agreement, patience_s=2).map(work, range(9))
        assert next(results) == cluster.workers[0].pid
        with pytest.raises(
            ComputeError,
            match=r"^1 of 1 workers at tcp://.* have been paused for 2 s while a task waits for "
            r"them: their memory \(2.0 GiB\) is used up; give workers more",
        ):
            next(results)


def test_a_scheduler_that_goes_away_is_told(tmp_path):
    with dask_processes(tmp_path / "dask", workers=1) as cluster, cluster.client() as client:
        (tmp_path / "token").touch()
        workers = DaskWorkers(client, Agreement(CODE, str(tmp_path / "token")))
        results = workers.map(abs, range(100_000))
        next(results)
        cluster.scheduler.kill()
        with pytest.raises(ComputeError, match=r"the scheduler .* went away"):
            list(results)


def test_a_client_that_was_closed_is_told_as_a_scheduler_that_went_away(cluster, tmp_path):
    (tmp_path / "token").touch()
    with cluster.client() as client:
        workers = DaskWorkers(client, Agreement(CODE, str(tmp_path / "token")))
    with pytest.raises(ComputeError, match="the scheduler of the cluster went away"):
        list(workers.map(abs, [1]))


def test_workers_of_another_state_of_the_package_are_refused(cluster):
    with cluster.client() as client:
        old = DaskWorkers(client, Agreement("another", __file__))
        with pytest.raises(ComputeError, match="runs another state of the package geo_assets"):
            list(old.map(abs, [1]))


def test_workers_that_do_not_see_the_results_are_refused(cluster, tmp_path):
    with cluster.client() as client:
        blind = DaskWorkers(client, Agreement(CODE, str(tmp_path / "elsewhere" / "token")))
        with pytest.raises(ComputeError, match=r"does not see the folder of results .*elsewhere"):
            list(blind.map(abs, [1]))


def test_other_versions_are_refused_by_name(choice, tmp_path, monkeypatch):
    from distributed import Client

    def differing(self, packages):
        said = Client._get_versions_as_they_are(self, packages=packages)
        for versions in said["workers"].values():
            versions["packages"] |= {"numpy": "1.0", "geo-assets": None}
        return said

    monkeypatch.setattr(Client, "_get_versions_as_they_are", Client.get_versions, raising=False)
    monkeypatch.setattr(Client, "get_versions", differing)
    with pytest.raises(ComputeError) as refused, open_cluster(choice, tmp_path):
        pass
    assert "worker tcp://127.0.0.1:" in str(refused.value)
    assert f"has numpy 1.0, here it is {np.__version__}" in str(refused.value)
    assert "has geo-assets not installed" in str(refused.value)


def test_a_scheduler_that_is_not_there_is_told_within_seconds(monkeypatch):
    monkeypatch.setattr("geo_assets.dask_cluster.CONNECT_S", 1.0)
    with (
        pytest.raises(
            ComputeError,
            match=r"^GEO_ASSETS_COMPUTE=tcp://127.0.0.1:9: no Dask scheduler answers",
        ),
        connect("tcp://127.0.0.1:9"),
    ):
        pass


class Greeting(socketserver.BaseRequestHandler):
    """What listens but is not Dask: a web server answers, others say nothing."""

    answer = b""

    def handle(self):
        self.request.sendall(self.answer)
        while self.request.recv(1024):
            pass


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.0 400 Bad request\r\n\r\n" * 9], ids=["silent", "web"]
)
def test_another_service_at_the_address_is_told_within_seconds(monkeypatch, answer):
    """As where the port of the dashboard is taken for that of the scheduler."""
    monkeypatch.setattr("geo_assets.dask_cluster.CONNECT_S", 1.0)
    handler = type("Handler", (Greeting,), {"answer": answer})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.server_address[1]}"
        with (
            pytest.raises(ComputeError, match=rf"{address}: no Dask scheduler answers there"),
            connect(address),
        ):
            pass
        server.shutdown()


def test_a_scheduler_without_workers_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("geo_assets.dask_cluster.CONNECT_S", 1.0)
    with (
        dask_processes(tmp_path, workers=0) as cluster,
        pytest.raises(ComputeError, match="the scheduler has no worker; start some: dask worker"),
        connect(cluster.address),
    ):
        pass


def test_nothing_is_left_in_the_folder_of_results(choice, tmp_path):
    with open_cluster(choice, tmp_path / "results") as workers:
        assert list(workers.map(abs, [-1])) == [1]
    assert list((tmp_path / "results").iterdir()) == []


def test_what_a_killed_run_left_is_swept_a_week_later(choice, tmp_path):
    """A younger one may be of a run that goes on, on another machine perhaps."""
    old, young = tmp_path / ".cluster-old.tmp", tmp_path / ".cluster-young.tmp"
    for token in (old, young):
        token.touch()
    a_week_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (a_week_ago, a_week_ago))
    with open_cluster(choice, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [young]


def test_a_local_cluster_lasts_as_long_as_it_is_open(tmp_path):
    with open_cluster(ComputeChoice("local", workers=2, memory="1GiB"), tmp_path) as workers:
        pids = set(workers.map(lambda _: (time.sleep(0.05), os.getpid())[1], range(8)))
    assert os.getpid() not in pids
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_credential_is_sent(workers, monkeypatch):
    """Workers sign for themselves; what they need is in their own environment."""
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "canary-7361")
    from geo_assets.sources.stac.source import StacRules, StacSource

    source = StacSource(StacRules("https://example.com", signing="planetary-computer"))
    sent = []
    submit = workers._client.submit

    def watched(function, *arguments, **options):
        sent.extend(arguments)
        return submit(function, *arguments, **options)

    monkeypatch.setattr(workers._client, "submit", watched)

    def seen_there(each):
        return each.describe()["kind"], os.environ.get("PC_SDK_SUBSCRIPTION_KEY")

    assert list(workers.map(seen_there, [source])) == [("stac", None)]
    assert b"canary-7361" not in b"".join(part for part in sent if isinstance(part, bytes))
