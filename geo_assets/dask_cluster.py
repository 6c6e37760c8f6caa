"""Dask clusters: found or started for one asset run, looked over, and left as they were.

Sending tasks is in ``dask_workers``.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import distributed
from distributed import Client, LocalCluster

from geo_assets.compute import COMPUTE_VARIABLE
from geo_assets.dask_workers import CODE, Agreement, DaskWorkers, address_of, breach_of
from geo_assets.errors import ComputeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geo_assets.compute import ComputeChoice

CONNECT_S = 10.0
"""Seconds to wait for a scheduler, and then for its first worker."""

_PREFIX = ".cluster-"
_RUN_S = 7 * 24 * 3600
"""Seconds after which the run that a token was put down for has ended."""

DECISIVE = (
    "geo-assets",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "rasterio",
    "pyproj",
    "shapely",
    "odc-geo",
    "xarray",
    "zarr",
    "numcodecs",
)
"""Distributions whose versions decide bytes."""

TRANSPORT = ("dask", "distributed", "cloudpickle", "msgpack")
"""Distributions of which all processes of a cluster need one version, the scheduler too."""


@contextmanager
def open_cluster(choice: ComputeChoice, folder: Path) -> Iterator[DaskWorkers]:
    """Give the workers of a cluster, looked over; a local one is started and ended here.

    Args:
        choice: A local cluster, or the address of a scheduler.
        folder: The folder of results, which every worker must see at the same path.

    Raises:
        ComputeError: If there is no scheduler, no worker, or one that would do other work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep_tokens(folder)
    with ExitStack() as stack:
        client = stack.enter_context(_client(choice))
        token = stack.enter_context(
            tempfile.NamedTemporaryFile(dir=folder, prefix=_PREFIX, suffix=".tmp")
        )
        agreement = Agreement(CODE, token.name)
        look_over(client, agreement)
        yield DaskWorkers(client, agreement)


def _sweep_tokens(folder: Path) -> None:
    """Remove what killed runs left; whether a young one's run lives, nobody can tell from here."""
    for token in folder.glob(f"{_PREFIX}*.tmp"):
        with suppress(FileNotFoundError):  # two runs may begin at once
            if time.time() - token.stat().st_mtime > _RUN_S:
                token.unlink()


@contextmanager
def _client(choice: ComputeChoice) -> Iterator[Client]:
    if choice.mode == "address":
        with connect(choice.address) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=choice.workers,
            threads_per_worker=1,
            memory_limit=choice.memory or "auto",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Give a client of a scheduler that has a worker.

    Raises:
        ComputeError: If nothing answers there, or no worker is there.
    """
    try:
        with ThreadPoolExecutor(1) as apart:  # where an event loop may run already
            apart.submit(asyncio.run, _shake_hands(address)).result()
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ComputeError(
            f"{COMPUTE_VARIABLE}={address}: no Dask scheduler answers there within "
            f"{CONNECT_S:.0f} s"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError:
            raise ComputeError(
                f"{COMPUTE_VARIABLE}={address}: the scheduler has no worker; start some: "
                f"dask worker {address}"
            ) from None
        yield client


async def _shake_hands(address: str) -> None:
    """See that Dask listens there: its client would wait for ever for a greeting of others."""
    try:
        comm = await asyncio.wait_for(distributed.comm.connect(address), CONNECT_S)
    except Exception as error:  # others say what they like: a web server's is read as 3 EiB
        raise OSError(f"{address} is not Dask's") from error
    await comm.close()


def look_over(client: Client, agreement: Agreement) -> None:
    """See that scheduler and workers are the same software as this process, and see the results.

    A worker that comes later is looked over by its first task.

    Raises:
        ComputeError: Naming the process and what differs.
    """
    require_same_software(client)
    for worker, breach in sorted(client.run(breach_of, agreement).items()):
        if breach is not None:
            raise ComputeError(f"worker {worker} {breach}")


def require_same_software(client: Client) -> None:
    """See that scheduler and workers have the versions of this process.

    Raises:
        ComputeError: Naming the process and what differs.
    """
    differences = [
        f"{where} has {name} {theirs or 'not installed'}, here it is {ours or 'not installed'}"
        for where, name, theirs, ours in _differences(client)
    ]
    if differences:
        raise ComputeError(
            f"the cluster at {address_of(client)} would not make the same bytes: "
            f"{'; '.join(differences)}; install the same versions (constraints.txt) everywhere"
        )


def examine_cluster(address: str) -> str:
    """Return in a few words what a scheduler has to offer; no task is done, nothing written.

    Raises:
        ComputeError: If it does not answer, has no worker, or is other software.
    """
    with connect(address) as client:
        require_same_software(client)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        threads = sum(worker["nthreads"] for worker in workers)
        limits = [worker["memory_limit"] for worker in workers]
        least = f"{min(limits) / 1024**3:.1f} GiB" if all(limits) else "no limit"
        return (
            f"{len(limits)} workers with {threads} threads, least memory of a worker {least}, "
            f"same versions (distributed {distributed.__version__})"
        )


def _differences(client: Client) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Where, package, its version there and here."""
    said: dict[str, Any] = client.get_versions(packages=[*DECISIVE, *TRANSPORT])
    here = said["client"]["packages"]
    scheduler = said["scheduler"]["packages"]
    for name in ("python", "geo-assets", *TRANSPORT):
        if scheduler.get(name) != here.get(name):
            yield "the scheduler", name, scheduler.get(name), here.get(name)
    for address, versions in sorted(said["workers"].items()):
        for name in ("python", *DECISIVE, *TRANSPORT):
            theirs = versions["packages"].get(name)
            if theirs != here.get(name):
                yield f"worker {address}", name, theirs, here.get(name)
