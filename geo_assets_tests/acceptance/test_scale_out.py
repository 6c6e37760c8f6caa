"""Scale-out: a scheduler and worker processes of their own make the bytes that threads make.

Each run is the product's own command; the cluster is Dask's own commands, as an operator has them.
"""

from __future__ import annotations

import logging
import random
import shutil
import subprocess
import time
from dataclasses import dataclass

import pytest

from geo_assets.assets.imagery import composite_image
from geo_assets.assets.step import Partition
from geo_assets.campaign_file import load_campaign
from geo_assets.compute import COMPUTE_VARIABLE, ComputeChoice
from geo_assets.core.workers import Threads
from geo_assets.dask_cluster import open_cluster
from geo_assets.partitions import fold_and_split
from geo_assets.resources import ImagerySource
from geo_assets_tests.acceptance.support import Workplace, digest, files_below, render, runs_on, say
from geo_assets_tests.dask_processes import DEADLINE_S, dask_processes

KEY = "north|train"
ASSETS = (
    "composite_image",
    "ndvi_cube",
    "ndvi_spatial_labels",
    "ndvi_temporal_labels",
    "ndvi_label_changes",
    "land_cover_labels",
)
UPSTREAM = ("labels", "aoi_clusters", "scenes")
KILLS, ALL_KILLS = 2, 10
REDUCERS = (
    {"reducer": "medoid"},
    {"reducer": "max-ndvi"},
    {"reducer": "percentile", "percentile": 80.0},
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_processes(tmp_path_factory.mktemp("dask")) as running:
        yield running


def command(place, names):
    selection = ",".join(f"scale/{name}" for name in names)
    return place.words(
        *("dagster", "asset", "materialize", "-m", "geo_assets.definitions"),
        *("--select", selection, "--partition", KEY),
    )


def start(place, path, names, compute):
    """Begin to materialize assets, as a user would."""
    with (place.folder / "run.log").open("wb") as log:
        return subprocess.Popen(
            command(place, names),
            env=place.environment(path) | {COMPUTE_VARIABLE: compute},
            cwd=place.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(place, process):
    assert process.wait(timeout=10 * DEADLINE_S) == 0, (place.folder / "run.log").read_text()[
        -5000:
    ]


@pytest.fixture(scope="module")
def upstream(archive, tmp_path_factory):
    """Areas and scenes of the wide campaign: all that the cluster's assets are made of."""
    place = Workplace(tmp_path_factory.mktemp("upstream"))
    place.place_archive(archive)
    path = render("scale_out", place.folder)
    assert place.run("geo-assets", "home").returncode == 0
    finish(place, start(place, path, UPSTREAM, "threads"))
    return place, path


def copy_of(upstream, folder):
    place, path = upstream
    copied = place.copy(folder)
    shutil.copytree(place.home, copied.home)
    return copied, path


def published(place):
    """Digest of every file that was published for the assets, by path."""
    folder = place.data / "scale"
    return {
        str(path.relative_to(folder)): digest(path)
        for name in ASSETS
        for path in files_below(folder / name)
    }


@pytest.fixture(scope="module")
def by_threads(upstream, tmp_path_factory):
    place, path = copy_of(upstream, tmp_path_factory.mktemp("threads") / "place")
    finish(place, start(place, path, ASSETS, "threads"))
    found = published(place)
    assert {name.partition("/")[0] for name in found} == set(ASSETS)
    return found


def busy(client):
    """Addresses of the workers that have a task now."""
    return {worker for worker, tasks in client.processing().items() if tasks}


def wait_for_work(process, client):
    """Wait until a worker has a task, and return who has; nobody if the run ends before."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := busy(client):
            return found
        if not runs_on(process):
            return set()
    raise AssertionError("no task came")


@dataclass(frozen=True)
class Made:
    """What a run on the cluster published, and when it had tasks, in seconds from the first."""

    files: dict[str, str]
    moments: list[float]


@pytest.fixture(scope="module")
def by_cluster(upstream, cluster, tmp_path_factory):
    place, path = copy_of(upstream, tmp_path_factory.mktemp("cluster") / "place")
    process = start(place, path, ASSETS, cluster.address)
    moments = []
    with cluster.client() as client:
        assert wait_for_work(process, client), "nothing was done by the workers"
        began = time.monotonic()
        while runs_on(process):
            if busy(client):
                moments.append(time.monotonic() - began)
    finish(place, process)
    return Made(published(place), moments)


@pytest.mark.timeout(1800)
def test_a_cluster_publishes_the_files_of_threads_byte_for_byte(by_threads, by_cluster):
    files = by_cluster.files
    assert set(files) == set(by_threads)
    assert [name for name, found in files.items() if found != by_threads[name]] == []


@pytest.mark.timeout(3600)
def test_a_worker_that_is_killed_costs_no_byte(upstream, by_cluster, cluster, full, tmp_path):
    """``kill -9`` of one of two workers while it has a task; the other one finishes the run."""
    draw = random.Random(3)  # noqa: S311  # moments of a test, no secret
    wanted, hits = ALL_KILLS if full else KILLS, []
    for number in range(2 * ALL_KILLS):
        if len(hits) == wanted:
            break
        cluster.heal()
        moment = draw.choice(by_cluster.moments)
        place, path = copy_of(upstream, tmp_path / str(number))
        process = start(place, path, ASSETS, cluster.address)
        with cluster.client() as client:
            assert wait_for_work(process, client)
            runs_on(process, moment)
            if workers := wait_for_work(process, client):
                cluster.kill(cluster.addresses(client).index(draw.choice(sorted(workers))))
                hits.append(f"{moment:.1f}")
        finish(place, process)
        assert published(place) == by_cluster.files, f"killed a worker after {moment:.1f} s"
        shutil.rmtree(place.folder)
    say(f"\nworkers killed {', '.join(hits)} s after the first task of a run that had tasks for "
        f"{max(by_cluster.moments):.1f} s")  # fmt: skip
    assert len(hits) == wanted, "kills came too late to interrupt anything"


@pytest.mark.parametrize("rules", REDUCERS, ids=lambda rules: rules["reducer"])
def test_a_cluster_of_the_run_itself_composes_by_every_rule_as_threads_do(
    upstream, tmp_path, rules
):
    place, path = upstream
    campaign = load_campaign(str(path))
    campaign = campaign.model_copy(
        update={"composite": campaign.composite.model_copy(update=rules)}
    )
    made = {}
    with open_cluster(ComputeChoice("local", workers=2, memory="1GiB"), tmp_path) as cluster:
        for name, workers in (("threads", Threads()), ("local", cluster)):
            copied = place.copy(tmp_path / name)
            partition = Partition(
                campaign,
                copied.layout(campaign),
                *fold_and_split(KEY),
                ImagerySource(),
                "run",
                logging.getLogger("scale"),
                workers,
            )
            composite_image.make(partition)
            made[name] = published(copied)
    assert made["threads"] == made["local"] != {}


def test_a_run_without_its_scheduler_says_so(upstream, tmp_path):
    place, path = copy_of(upstream, tmp_path / "place")
    began = time.monotonic()
    process = start(place, path, ("ndvi_cube",), "tcp://127.0.0.1:9")
    assert process.wait(timeout=DEADLINE_S) != 0
    log = (place.folder / "run.log").read_text()
    assert "GEO_ASSETS_COMPUTE=tcp://127.0.0.1:9: no Dask scheduler answers there" in log
    assert time.monotonic() - began < DEADLINE_S
    assert files_below(place.data / "scale" / "ndvi_cube") == []
