"""Equal values are packed to equal bytes, whichever thread packs them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from geo_assets.storage.blosc import Blosc


def test_the_main_thread_packs_the_bytes_that_others_pack():
    values = np.random.default_rng(0).normal(1000, 150, 2**20).astype(np.uint16)
    codec = Blosc("lz4", 1, Blosc.BITSHUFFLE, blocksize=2**16, typesize=2)
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(codec.encode, values).result()
    assert all(codec.encode(values) == elsewhere for _ in range(8))
