"""A Dask cluster as an operator starts it: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

DASK = str(Path(sys.executable).with_name("dask"))
DEADLINE_S = 120
"""Far longer than anything takes, on however busy a machine."""


class DaskProcesses:
    """A scheduler and its workers on 127.0.0.1; whoever dies is started again when told to."""

    def __init__(self, folder, workers=2, memory_limit="2GiB"):
        self.folder = folder
        self._file = folder / "scheduler.json"
        self._memory_limit = memory_limit
        self._logs = []
        self.scheduler = None
        self.workers = [None] * workers

    def start(self):
        self.scheduler = self._process(
            *("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            *("--scheduler-file", str(self._file)),
            log="scheduler.log",
        )
        deadline = time.monotonic() + DEADLINE_S
        while not self._is_told():
            assert self.scheduler.poll() is None, self.said("scheduler.log")
            assert time.monotonic() < deadline, self.said("scheduler.log")
            time.sleep(0.05)
        self.heal()

    def _is_told(self):
        """Whether the scheduler has written where it listens: its file is there before that."""
        try:
            return bool(self.address)
        except (FileNotFoundError, ValueError):
            return False

    @property
    def address(self):
        return json.loads(self._file.read_text())["address"]

    def heal(self):
        """Start the workers that are not running, as a supervisor would, and wait for all."""
        for number, process in enumerate(self.workers):
            if process is None or process.poll() is not None:
                self.workers[number] = self._process(
                    *("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1"),
                    *("--memory-limit", self._memory_limit, "--no-nanny", "--no-dashboard"),
                    *("--name", f"worker-{number}"),
                    *("--local-directory", str(self.folder / f"worker-{number}")),
                    log=f"worker-{number}.log",
                )
        if not self.workers:
            return
        with self.client() as client:
            client.wait_for_workers(len(self.workers), timeout=DEADLINE_S)

    def addresses(self, client):
        """Addresses of the workers, in their order."""
        known = client.scheduler_info()["workers"]
        named = {worker["name"]: address for address, worker in known.items()}
        return [named[f"worker-{number}"] for number in range(len(self.workers))]

    def kill(self, number):
        """``kill -9`` of one worker."""
        os.kill(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait()

    @contextmanager
    def client(self):
        with Client(self.address, timeout=DEADLINE_S, set_as_default=False) as client:
            yield client

    def stop(self):
        for process in (*self.workers, self.scheduler):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        for log in self._logs:
            log.close()

    def said(self, name):
        """The end of what a process wrote."""
        return (self.folder / name).read_text()[-3000:]

    def _process(self, *words, log):
        self._logs.append((self.folder / log).open("ab"))
        return subprocess.Popen(
            [DASK, *words],
            cwd=self.folder,
            stdout=self._logs[-1],
            stderr=subprocess.STDOUT,
        )


@contextmanager
def dask_processes(folder, workers=2, memory_limit="2GiB"):
    """Give a running cluster, and end its processes at last."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = DaskProcesses(folder, workers, memory_limit)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
