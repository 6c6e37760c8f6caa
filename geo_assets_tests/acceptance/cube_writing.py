"""Writers of cubes in processes of their own, for tests that kill them or let them compete.

Loaded once by a fork server, so that a writer starts in no time: imports here start no thread.
"""

from __future__ import annotations

import multiprocessing
from contextlib import nullcontext
from dataclasses import replace

import dask.array  # noqa: F401  # writers would load these one by one, at first use
import numpy as np
import spyndex  # noqa: F401

import geo_assets.core.kernels.ndvi  # noqa: F401
from geo_assets.products.cubes import builder as cubes
from geo_assets.products.cubes.builder import CubeBuilder, CubeRules
from geo_assets.sources.rules import CloudRules
from geo_assets.storage.cubes import publication as cube_publication
from geo_assets.storage.cubes.chunk_files import pack_chunk
from geo_assets.storage.cubes.days import CubeHead, StoredDay
from geo_assets.storage.cubes.format import index_variable
from geo_assets.storage.cubes.publication import Changes, publish_changes
from geo_assets.storage.cubes.stage import staged
from geo_assets_tests.sources.memory_source import MemorySource, grid, random_scene

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["geo_assets_tests.acceptance.cube_writing"])

SIDE = 96
DAYS = [str(day) for day in np.arange("2021-01-01", "2021-03-01", 5, dtype="datetime64[D]")]
RULES = CubeRules("B04", "B08", CloudRules(), 0.0, "none", 10.0)


def builder(days=DAYS, *, twice=False, **rules) -> CubeBuilder:
    """A builder of the cube of some days; every third has two scenes."""
    where = grid(SIDE, SIDE)
    scenes = []
    for number, day in enumerate(DAYS):
        if day in days:
            names = [f"S{number}", f"T{number}"] if number % 3 == 0 else [f"S{number}"]
            scenes += [random_scene([number, i], n, day, where) for i, n in enumerate(names)]
    source = MemorySource.of(*scenes)
    items = source.items * (2 if twice else 1)
    return CubeBuilder(
        source, items, where, np.ones((SIDE, SIDE), bool), replace(RULES, **rules), {"title": "t"}
    )


def build_and_tell(path, days, tell) -> None:
    """Build a cube, saying when its publication begins and ends."""

    def told(*arguments):
        tell.send("begin")
        made = publish_changes(*arguments)
        tell.send("end")
        return made

    cubes.publish_changes = told
    builder(days).build(path)


def put_day(path, day: str, value: int):
    """Put one day of one value into a cube of 8 × 8 pixels, whatever other days it has."""
    variable = index_variable("ndvi")
    geobox = grid(8, 8)
    head = CubeHead(geobox, "rules", lambda _: (variable,), lambda days: {"count": len(days)})
    with staged(path, 1, geobox.shape.yx) as stage:
        for chunk in stage.chunks():
            values = np.full((8, 8), value, np.int16)
            stage.put(0, variable, chunk, pack_chunk(values, variable.fill, stage.edges))
        said = StoredDay(stage.keep(0), {}, {"value": value})
        return publish_changes(path, head, Changes({day: said}, {day: 0}), stage)


def compete(path, writer: int, days: list[str], tell, *, locked: bool) -> None:
    """Put days one after another; tell of each that was acknowledged."""
    if not locked:
        cube_publication.writing_alone = lambda _: nullcontext()
    tell.send("ready")
    tell.recv()
    for number, day in enumerate(days):
        try:
            put_day(path, day, 100 * writer + number)
        except Exception:  # noqa: S112  # not acknowledged: nothing was promised
            continue
        tell.send((day, 100 * writer + number))
    tell.send(None)
