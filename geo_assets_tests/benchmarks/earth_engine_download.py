"""Chips of 256² × 5 bands (655 kB) from a server that takes 100 or 500 ms for each request.

The server is a loopback Earth Engine with canned pixels, in a process of its own and started
anew for each approach. Ours is a whole run: asked, checked, labelled, written, synced, journalled
and catalogued, at 38 requests in flight and 90 a second. What of its CPU time is asking, checking
and writing is taken apart.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.benchmarks import earth_engine_server as server
from geo_assets_tests.benchmarks.model import (
    OURS,
    Approach,
    Benchmark,
    Disagreement,
    Quantity,
    Stopwatch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

SIZE = 256
OLD_WAY = "16 processes, URL and GET"
PLAIN_THREADS = "computePixels in 40 threads"
CONCURRENCY, PER_SECOND = 38, 90.0
PROCESSES = 16
THREADS = CONCURRENCY + 10
COUNT = "count"


def make(inputs: Path, size: int) -> None:
    """Write down how many chips there are: nothing else is needed."""
    (inputs / COUNT).write_text(str(size))


def ours(inputs: Path, output: Path, watch: Stopwatch, *, latency: float) -> None:
    from geo_assets.sources.earth_engine.policy import RequestPolicy

    count = int((inputs / COUNT).read_text())
    grids = server.chip_grids(count, SIZE)
    with server.serving("--canned", "static", "--latency", str(latency)) as url:
        policy = RequestPolicy(concurrency=CONCURRENCY, requests_per_second=PER_SECOND)
        source = server.our_source(url, policy, output)
        chips, specs = server.our_chips(source, grids)
        store = server.store(output)
        before = source.traffic().requests
        with chips, watch.time():
            report = store.converge(specs, chips.read, run_id="run", workers=THREADS)
        asked = source.traffic().requests - before
    if report.ok != count:
        raise AssertionError(f"{report.ok} of {count} chips are ok")
    watch.note("rate", count / watch.measures[""])
    watch.note("requests", asked / count)
    watch.note("cpu", watch.cpu_seconds / count * 1000)


def asked_only(inputs: Path, output: Path, watch: Stopwatch, *, latency: float) -> None:
    """Ours without checking and writing: what a request costs."""
    from geo_assets.sources.earth_engine.pixels import request_body
    from geo_assets.sources.earth_engine.policy import RequestPolicy

    count = int((inputs / COUNT).read_text())
    grids = server.chip_grids(count, SIZE)
    with server.serving("--canned", "static", "--latency", str(latency)) as url:
        policy = RequestPolicy(concurrency=CONCURRENCY, requests_per_second=PER_SECOND)
        source = server.our_source(url, policy, output)
        chips, specs = server.our_chips(source, grids)
        expression = chips.areas[0].composite.expression

        def ask(grid):
            body = request_body(expression, grid)
            return source.session.post("image:computePixels", body, len)

        with watch.time(), ThreadPoolExecutor(THREADS) as pool:
            sizes = list(pool.map(ask, grids))
        payload = source.session.post(
            "image:computePixels", request_body(expression, grids[0]), bytes
        )
    assert len(set(sizes)) == 1
    assert len(specs) == count
    watch.note("rate", count / watch.measures[""])
    watch.note("requests", 1)
    watch.note("cpu", watch.cpu_seconds / count * 1000)
    (output / "first.npy").write_bytes(payload)


def plain_threads(inputs: Path, output: Path, watch: Stopwatch, *, latency: float) -> None:
    import ee

    from geo_assets.sources.earth_engine.pixels import grid_of

    count = int((inputs / COUNT).read_text())
    grids = server.chip_grids(count, SIZE)
    with server.serving("--canned", "static", "--latency", str(latency)) as url:
        server.initialise_the_client(url)
        image = server.composite_of_the_client()

        def fetch(grid):
            return ee.data.computePixels(
                {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid_of(grid)}
            )

        with watch.time(), ThreadPoolExecutor(40) as pool:
            for number, array in enumerate(pool.map(fetch, grids)):
                if number == 0:
                    np.save(output / "first.npy", array)
    watch.note("rate", count / watch.measures[""])
    watch.note("requests", 1)
    watch.note("cpu", watch.cpu_seconds / count * 1000)


def old_way(inputs: Path, output: Path, watch: Stopwatch, *, latency: float) -> None:
    import ee  # noqa: F401  # once here, not once in each process

    count = int((inputs / COUNT).read_text())
    context = get_context("fork")
    ready = context.Barrier(PROCESSES + 1)
    with server.serving("--canned", "static", "--latency", str(latency)) as url:
        work = [(str(output), number) for number in range(count)]
        # The older scripts fork after they have initialised, which mixes up answers; here each
        # process has its own client, and all of them are up before the watch starts.
        with context.Pool(PROCESSES, _initialise, (url, ready)) as pool:
            ready.wait()
            with watch.time():
                pool.map(_fetch, work, chunksize=1)
                pool.close()
                pool.join()
    watch.note("rate", count / watch.measures[""])
    watch.note("requests", 2)
    watch.note("cpu", watch.cpu_seconds / count * 1000)


def _initialise(url: str, ready: Barrier) -> None:
    server.initialise_the_client(url)
    ready.wait()


def _fetch(work: tuple[str, int]) -> None:
    from pathlib import Path

    import ee
    import requests

    folder, number = work
    image = server.composite_of_the_client()
    point = ee.Geometry.Point([15.0 + number * 1e-4, 46.5])
    url = image.getDownloadURL(
        {"region": point.buffer(1280).bounds(), "dimensions": "256x256", "format": "NPY"}
    )
    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    name = "first" if number == 0 else f"{number:05d}"
    (Path(folder) / f"{name}.npy").write_bytes(answer.content)


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """The canned pixels are the same for every chip: so are those that each way got."""
    count = int((inputs / COUNT).read_text())
    wanted = np.load(io.BytesIO((outputs[PLAIN_THREADS] / "first.npy").read_bytes()))
    bands = np.stack([wanted[name] for name in server.BANDS])
    for name, folder in outputs.items():
        if name == OURS:
            files = sorted(folder.rglob("*.npy"))
            if len(files) != count:
                raise Disagreement(f"{name}: {len(files)} of {count} chips")
            got = np.load(files[0])[:-1]
        else:
            array = np.load(folder / "first.npy")
            got = np.stack([array[band] for band in server.BANDS])
        if not np.array_equal(got, bands):
            raise Disagreement(f"{name}: other pixels than {PLAIN_THREADS}")
    return {}


def _benchmark(milliseconds: int, chips: int, goals: Mapping[str, float]) -> Benchmark:
    latency = milliseconds / 1000
    return Benchmark(
        name=f"earth_engine_download_{milliseconds}ms",
        make=make,
        size=chips,
        quick_size=8,
        approaches=(
            Approach(OURS, partial(ours, latency=latency), "ours"),
            Approach(OLD_WAY, partial(old_way, latency=latency)),
            Approach(PLAIN_THREADS, partial(plain_threads, latency=latency)),
            Approach("ours, asking alone", partial(asked_only, latency=latency)),
        ),
        check=check,
        quantities=(
            Quantity(goals=goals),
            Quantity("rate", "chips/s", goals, more_is_better=True),
            Quantity("requests", "a chip"),
            Quantity("cpu", "ms a chip"),
        ),
    )


BENCHMARKS = [
    _benchmark(500, chips=760, goals={OLD_WAY: 4.5}),
    # The service allows 100 requests a second, which only ours heeds.
    _benchmark(100, chips=900, goals={}),
]
