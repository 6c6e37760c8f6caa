from __future__ import annotations

import logging

import geopandas
import pytest

from geo_assets.assets.areas import read_boxes
from geo_assets.core.areas import ClusterBox
from geo_assets.storage.geoparquet import write_table
from geo_assets_tests.assets.label_cases import a_partition


@pytest.mark.parametrize(("only", "told"), [((1, 7), False), ((7,), True), (None, False)])
def test_a_partition_that_has_none_of_the_chosen_clusters_says_so(tmp_path, caplog, only, told):
    partition = a_partition(tmp_path, clusters={"only": only})
    boxes = [ClusterBox(number, "EPSG:32632", (0, 0, 10, 10), 1) for number in range(3)]
    write_table(
        geopandas.GeoDataFrame({"cluster": []}, geometry=[], crs="EPSG:4326"),
        partition.layout.aoi_clusters("north", "train"),
        metadata={"boxes": [box.to_dict() for box in boxes]},
    )
    with caplog.at_level(logging.WARNING):
        assert read_boxes(partition) == [
            box for box in boxes if only is None or box.cluster in only
        ]
    words = "north|train: has none of clusters.only [7], its clusters are 0 to 2"
    assert (words in caplog.text) is told
