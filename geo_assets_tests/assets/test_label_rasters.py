from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from sklearn.metrics import adjusted_rand_score

from geo_assets.assets.label_rasters import ndvi_temporal_labels
from geo_assets.assets.step import Partition
from geo_assets.campaign_file import load_campaign
from geo_assets.resources import ImagerySource
from geo_assets.storage.cube import MISSING, write_cube
from geo_assets.storage.layout import Layout

DAYS = np.array(["2021-02-03", "2021-05-04", "2021-06-05", "2021-10-06"], "datetime64[D]")
GRID = GeoBox((60, 80), Affine(10, 0, 700_000, 0, -10, 5_480_000), "EPSG:32632")


@pytest.fixture
def partition(tmp_path):
    layout = Layout(tmp_path, "demo")
    return Partition(
        load_campaign("demo"),
        layout,
        "north",
        "train",
        ImagerySource(),
        "run",
        logging.getLogger("labels"),
    )


def _cube(rng):
    """NDVI of two kinds of land, the third day all cloud, a corner always missing."""
    kind = np.zeros(GRID.shape.yx, int)
    kind[:, 40:] = 1
    seasons = np.array([[1500, 7000, 8000, 2000], [6000, 6500, 3000, 6500]])
    values = seasons[kind].transpose(2, 0, 1) + rng.normal(0, 300, (4, *GRID.shape.yx))
    values = np.clip(values, -10_000, 10_000).astype(np.int16)
    values[2] = MISSING
    values[:, :5, :5] = MISSING
    return values, kind


def _write(partition, values, cluster=0):
    path = partition.layout.ndvi_cube("north", "train", cluster)
    write_cube(path, {"ndvi": values}, DAYS.astype("datetime64[ms]"), GRID)


def test_series_are_told_apart_where_one_day_cannot(partition):
    values, kind = _cube(np.random.default_rng(2))
    _write(partition, values)
    rules = partition.campaign.temporal_labels.model_copy(
        update={"n_clusters": 2, "every": "date", "max_gap_days": 200}
    )
    campaign = partition.campaign.model_copy(update={"temporal_labels": rules})
    partition = Partition(
        campaign,
        partition.layout,
        "north",
        "train",
        ImagerySource(),
        "run",
        logging.getLogger("labels"),
    )

    facts = ndvi_temporal_labels.make(partition)

    path = partition.layout.ndvi_temporal_labels("north", "train", 0)
    with rasterio.open(path) as raster:
        labels = raster.read(1)
    assert (labels[:5, :5] == 0).all()
    known = labels > 0
    assert adjusted_rand_score(labels[known], kind[known]) == 1.0
    model = json.loads(path.with_suffix(".json").read_text())
    assert model["steps"] == [str(day) for day in DAYS]
    assert model["filled_share"] == pytest.approx(0.25)  # the cloudy day, between two clear ones
    assert facts["rasters"] == 1


def test_an_axis_that_no_pixel_fills_says_what_to_change(partition, caplog):
    values, _ = _cube(np.random.default_rng(4))
    _write(partition, values)  # four days, while the demo wants twelve months

    facts = ndvi_temporal_labels.make(partition)

    assert facts["rasters"] == 0
    assert "raise temporal_labels.max_gap_days (62)" in caplog.text
