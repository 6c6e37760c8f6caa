"""Tables for people in the metadata of assets."""

from __future__ import annotations

import numpy as np

from geo_assets.assets.step import table_of


def test_a_table_without_rows_is_a_table():
    """An area without clusters has nothing to list; its step ends well all the same."""
    assert table_of([]).records == []


def test_numbers_of_numpy_become_numbers():
    [record] = table_of([{"share": np.float32(0.5), "days": np.int64(3), "name": "north"}]).records
    assert record.data == {"share": 0.5, "days": 3, "name": "north"}
