"""A cube three times as large as all memory that the workers may use."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import zarr

from geo_assets.products.cubes.builder import CubeBuilder, CubeRules
from geo_assets.resources import Compute
from geo_assets.sources.rules import CloudRules
from geo_assets_tests.acceptance.support import peak_bytes, say
from geo_assets_tests.dask_processes import dask_processes
from geo_assets_tests.sources.formula_source import FormulaSource, formula_grid, red_and_nir

LIMIT = 512 * 1024**2
SIZE = 6000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cube_of_three_times_the_memory_of_all_workers_completes(full, tmp_path):
    """One worker, two in full: 1.5 and 3 GiB of values. Minutes of work: not in ``make test``."""
    workers = 2 if full else 1
    count = -(-3 * workers * LIMIT // (2 * SIZE * SIZE))
    first = dt.date(2021, 1, 1)
    days = tuple(str(first + dt.timedelta(days=5 * number)) for number in range(count))
    source, grid = FormulaSource(SIZE, SIZE, days), formula_grid(SIZE, SIZE)
    rules = CubeRules("B04", "B08", CloudRules(), 0.0, "none", 10.0)
    builder = CubeBuilder(source, source.items, grid, np.ones((SIZE, SIZE), bool), rules, {})
    path = tmp_path / "cluster-0.zarr"
    with (
        dask_processes(tmp_path / "dask", workers, memory_limit=str(LIMIT)) as cluster,
        Compute(where=cluster.address).open(tmp_path) as opened,
    ):
        made, how = builder.build(path, workers=opened)
        peaks = [peak_bytes(process.pid) for process in cluster.workers]
    assert (how, made.days) == ("built", days)
    stored = zarr.open_group(path, mode="r")["ndvi"]
    assert stored.shape == (count, SIZE, SIZE)
    assert stored.nbytes >= 3 * workers * LIMIT
    say(f"\n{stored.nbytes / 2**20:.0f} MiB of cube by {workers} workers of {LIMIT / 2**20:.0f} "
        f"MiB, which used {[round(peak / 2**20) for peak in peaks]}")  # fmt: skip
    assert max(peaks) < LIMIT
    for number in (0, count // 2, count - 1):
        for window in (np.s_[:40, :40], np.s_[1000:1050, 2990:3010], np.s_[SIZE - 9 :, SIZE - 9 :]):
            red, nir = (band.astype(float) for band in red_and_nir(number, grid[window]))
            wanted = (nir - red) / (nir + red) * 1e4
            assert np.abs(stored[number, *window] - wanted).max() <= 0.5 + 1e-9
