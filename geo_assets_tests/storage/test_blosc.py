"""Equal values are packed to equal bytes, whichever thread packs them."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor

import numcodecs.blosc
import numpy as np

from geo_assets.storage import blosc


def test_the_main_thread_packs_the_bytes_that_others_pack(monkeypatch):
    monkeypatch.setattr(numcodecs.blosc, "use_threads", None)  # zarr-python may have set it, too
    importlib.reload(blosc)
    numcodecs.blosc.set_nthreads(4)
    values = np.random.default_rng(0).normal(1000, 150, 2**20).astype(np.uint16)
    codec = blosc.Blosc("lz4", 1, blosc.Blosc.BITSHUFFLE, blocksize=2**16, typesize=2)
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(codec.encode, values).result()
    assert {bytes(codec.encode(values)) for _ in range(20)} == {bytes(elsewhere)}
