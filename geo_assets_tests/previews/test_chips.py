"""The contact sheet and the status map: every status is in sight."""

from __future__ import annotations

from collections import Counter

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.previews.chips import (
    MAX_TILES,
    ChipTile,
    contact_sheet,
    sample_rows,
    status_map,
)
from geo_assets.previews.palette import STATUS_COLOURS, rgb_of

STATUSES = ("ok", "no_imagery", "failed")


def tile(status="ok", side=64, seed=0, **more):
    data = np.random.default_rng(seed).integers(1, 3000, (3, side, side), np.uint16)
    return ChipTile(f"r{seed}", status, data if status == "ok" else None, **more)


def count_of(pixels, colour):
    return int((pixels == rgb_of(colour)).all(axis=2).sum())


def test_every_status_has_its_frame(opened):
    tiles = [
        tile(),
        tile("no_imagery"),
        tile("failed", error_kind="invalid_payload"),
        tile("failed"),
    ]
    pixels = opened(contact_sheet(tiles))

    for status in STATUSES:
        assert count_of(pixels, STATUS_COLOURS[status]) > 300


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 3])
def test_chips_of_every_type_are_drawn(dtype, bands, opened):
    data = np.tile(np.arange(32, dtype=dtype), (bands, 32, 1))
    valid = data[0] > 4
    labels = np.zeros((32, 32), np.uint8)
    labels[8:20, 8:20] = 3

    opened(contact_sheet([ChipTile("a", "ok", data, valid, labels)] * 3))


def test_noise_on_every_tile_still_fits_the_bound(opened):
    opened(contact_sheet([tile(side=256, seed=seed) for seed in range(40)]))


@pytest.mark.parametrize("status", ["no_imagery", "failed"])
def test_a_catalog_without_one_good_chip_is_drawn(status, opened):
    opened(contact_sheet([tile(status, error_kind="transient")] * 30))


def test_a_chip_without_a_datum_is_a_checker_and_not_an_error(opened):
    empty = ChipTile("a", "ok", np.zeros((3, 16, 16), np.uint16), np.zeros((16, 16), bool))

    opened(contact_sheet([empty]))


def test_no_chips_are_a_calm_picture(opened):
    frame = gpd.GeoDataFrame({"status": [], "cluster": []}, geometry=[], crs=4326)

    assert opened(contact_sheet([])).shape[0] < 200
    assert opened(status_map(frame)).shape[0] < 200


@given(statuses=st.lists(st.sampled_from(STATUSES), max_size=200))
def test_sampled_rows_are_distinct_rising_and_show_what_is_not_ok(statuses):
    rows = sample_rows(statuses)
    shown = Counter(statuses[row] for row in rows)

    assert rows == sorted(set(rows))
    assert len(rows) == min(len(statuses), MAX_TILES)
    if any(status != "ok" for status in statuses):
        assert shown["failed"] + shown["no_imagery"] > 0
    if "ok" in statuses:
        assert shown["ok"] > 0


def chip_frame(clusters=1):
    rows = [
        (
            shapely.box(x / 50, y / 50, (x + 1) / 50, (y + 1) / 50),
            STATUSES[(x + y) % 3],
            x % clusters,
        )
        for x in range(12)
        for y in range(8)
    ]
    shapes, statuses, cluster = zip(*rows, strict=True)
    return gpd.GeoDataFrame(
        {"status": statuses, "cluster": cluster}, geometry=list(shapes), crs=4326
    )


@pytest.mark.parametrize("clusters", [1, 2, 5, 12])
def test_the_status_map_draws_every_cluster(clusters, opened):
    pixels = opened(status_map(chip_frame(clusters)))

    for status in STATUSES:
        assert count_of(pixels, STATUS_COLOURS[status]) > 50


def test_the_same_chips_give_the_same_bytes():
    tiles = [tile(seed=seed) for seed in range(9)]

    assert contact_sheet(tiles) == contact_sheet(tiles)
    assert status_map(chip_frame()) == status_map(chip_frame())
