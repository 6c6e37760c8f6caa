from __future__ import annotations

import dagster as dg
import pytest

from geo_assets.partitions import (
    fold_and_split,
    fold_split_partitions,
    partition_key,
    partition_keys,
    tags_of_everything,
)
from geo_assets_tests.campaign_testing import a_campaign

KEYS = ["north|train", "north|test", "south|train", "south|test"]


def test_keys_are_dagsters_own_in_the_order_of_the_campaign(tmp_path):
    campaign = a_campaign(tmp_path)
    assert partition_keys(campaign) == KEYS
    assert fold_split_partitions(campaign).get_partition_keys() == KEYS


def test_a_range_covers_every_fold_with_every_split(tmp_path):
    partitions = fold_split_partitions(a_campaign(tmp_path))
    everything = dg.PartitionKeyRange(KEYS[0], KEYS[-1])
    assert list(partitions.get_partition_keys_in_range(everything)) == KEYS
    one_fold = dg.PartitionKeyRange("south|train", "south|test")
    assert list(partitions.get_partition_keys_in_range(one_fold)) == KEYS[2:]


def test_a_run_of_everything_is_a_range_from_the_first_key_to_the_last(tmp_path):
    assert tags_of_everything(a_campaign(tmp_path)) == {
        "dagster/asset_partition_range_start": "north|train",
        "dagster/asset_partition_range_end": "south|test",
    }


@pytest.mark.parametrize("key", KEYS)
def test_a_key_and_its_parts_are_one_to_one(key):
    fold, split = fold_and_split(key)
    assert partition_key(fold, split) == key
    assert dg.MultiPartitionKey({"fold": fold, "split": split}) == key


def test_a_key_is_written_fold_first(tmp_path):
    partitions = fold_split_partitions(a_campaign(tmp_path))
    assert not partitions.has_partition_key("train|north")
    assert partitions.has_partition_key("north|train")
