"""GDAL's cache is bounded in every process, and what the operator says stays."""

from __future__ import annotations

import os

import pytest

from geo_assets.storage.rasters.block_cache import bound_block_cache

MIB = 2**20


@pytest.mark.parametrize(
    ("said", "limit", "megabytes"),
    [
        (None, None, "192"),
        (None, 512 * MIB, "64"),
        (None, 64 * MIB, "16"),
        (None, 64 * 2**30, "192"),
        ("192", 512 * MIB, "64"),  # inherited from a process that knew no limit
        ("700", None, "700"),
        ("700", 512 * MIB, "700"),
    ],
)
def test_the_bound_is_a_share_of_the_limit_unless_the_operator_says_another(
    monkeypatch, said, limit, megabytes
):
    monkeypatch.setenv("GDAL_CACHEMAX", said or "")
    if said is None:
        monkeypatch.delenv("GDAL_CACHEMAX")
    bound_block_cache(limit)
    assert os.environ["GDAL_CACHEMAX"] == megabytes
