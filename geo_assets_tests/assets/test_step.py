from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
import numpy as np
import pytest

from geo_assets.assets.step import Facts, Partition, asset_step, table_of
from geo_assets.core.workers import Threads
from geo_assets.errors import AreaError, LockedError
from geo_assets.resources import Compute, ImagerySource, Results
from geo_assets.storage.atomic import is_temporary
from geo_assets.storage.partition_lock import partition_lock
from geo_assets_tests.campaign_testing import a_campaign

KEYS = ["north|train", "north|test", "south|train", "south|test"]
TO_ALL = {
    "dagster/asset_partition_range_start": KEYS[0],
    "dagster/asset_partition_range_end": KEYS[-1],
}


class WatchedCompute(Compute):
    """Threads that say when they are opened and closed."""

    def open(self, folder):
        @contextmanager
        def opened():
            OPENED.append(folder)
            try:
                yield Threads(2)
            finally:
                CLOSED.append(folder)

        return opened()


OPENED, CLOSED = [], []


class Step:
    """A step whose partitions fail where they are told to, and that remembers what it was asked."""

    def __init__(self, folder):
        self.campaign = a_campaign(folder)
        self.results = Results(data=str(folder / "data"))
        self.layout = self.results.layout(self.campaign.name)
        self.fails = {}
        self.asked = []
        self.tasks = 0
        self.compute = WatchedCompute()
        OPENED.clear()
        CLOSED.clear()

        @asset_step(group="chips", kinds={"python"}, columns={"a": ("int64", "a number")})
        def chip_grid(partition: Partition) -> Facts:
            """What a newcomer reads in the UI.

            In two paragraphs.
            """
            self.asked.append(str(partition))
            if error := self.fails.get(str(partition)):
                raise error
            if self.tasks:
                assert list(partition.workers.map(abs, range(self.tasks))) == [*range(self.tasks)]
                assert CLOSED == []
            return {"number": KEYS.index(str(partition)), "fold": partition.fold}

        self.step = chip_grid
        self.asset = chip_grid.bind(self.campaign)

    def run(self, instance, key=None, tags=None, *, raise_on_error=True):
        return dg.materialize(
            [self.asset],
            instance=instance,
            resources={
                "results": self.results,
                "imagery": ImagerySource(),
                "compute": self.compute,
            },
            partition_key=key,
            tags=tags,
            raise_on_error=raise_on_error,
        )

    def recorded(self, instance):
        """Partition and own metadata of every materialization, in order of the keys."""
        records = instance.fetch_materializations(self.asset.key, limit=100).records
        found = [
            (record.partition_key, record.asset_materialization.metadata) for record in records
        ]
        return {
            key: {name: metadata[name].value for name in ("number", "fold")}
            for key, metadata in sorted(found, key=lambda each: KEYS.index(each[0]))
        }, len(found)


@pytest.fixture
def step(tmp_path):
    return Step(tmp_path)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def test_a_range_run_records_each_partition_once_with_its_own_metadata(step, instance):
    assert step.run(instance, tags=TO_ALL).success
    assert step.asked == KEYS
    expected = {
        key: {"number": number, "fold": key.split("|")[0]} for number, key in enumerate(KEYS)
    }
    assert step.recorded(instance) == (expected, 4)


def test_a_partition_that_fails_does_not_keep_the_others_from_being_made(step, instance):
    """One damaged area of forty must not cost a night's run."""
    step.fails = {"north|test": AreaError("north.geojson: no such column")}
    result = step.run(instance, tags=TO_ALL, raise_on_error=False)
    assert not result.success
    assert step.asked == KEYS
    recorded, count = step.recorded(instance)
    assert list(recorded) == ["north|train", "south|train", "south|test"]
    assert count == 3
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert failure.step_failure_data.error.message.strip().endswith(
        "chip_grid failed for 1 of 4 partitions: north|test: north.geojson: no such column"
    )


def test_a_run_that_is_stopped_has_recorded_what_it_made(step, instance):
    step.fails = {"south|train": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        step.run(instance, tags=TO_ALL)
    assert step.asked == KEYS[:3]
    assert list(step.recorded(instance)[0]) == KEYS[:2]


def test_a_single_partition_fails_with_its_own_error(step, instance):
    step.fails = {"north|train": AreaError("north.geojson: no such column")}
    with pytest.raises(AreaError, match=r"^north\.geojson: no such column$"):
        step.run(instance, key="north|train")
    assert step.recorded(instance) == ({}, 0)


def test_a_partition_that_another_run_works_on_is_refused_by_name(step, instance):
    lock = step.layout.lock("chip_grid", "north", "test")
    with (
        partition_lock(lock, run_id="another-run"),
        pytest.raises(
            LockedError, match=r"^chip_grid north.test: partition 'test' is locked: run another-run"
        ),
    ):
        step.run(instance, key="north|test")
    assert step.asked == []
    assert step.run(instance, key="north|test").success


def test_a_locked_partition_of_a_range_is_named_and_the_others_are_made(step, instance):
    with partition_lock(step.layout.lock("chip_grid", "south", "train"), run_id="another-run"):
        result = step.run(instance, tags=TO_ALL, raise_on_error=False)
    assert not result.success
    assert list(step.recorded(instance)[0]) == [key for key in KEYS if key != "south|train"]


def test_a_run_begins_with_the_partition_that_the_others_read(step, instance):
    eager = replace(step.step, needs_first=lambda campaign: f"south|{campaign.splits[0]}")
    step.asset = eager.bind(step.campaign)
    step.run(instance, tags=TO_ALL)
    assert step.asked == ["south|train", "north|train", "north|test", "south|test"]


def test_workers_are_opened_once_for_all_partitions_of_a_run(step, instance):
    """A local cluster costs seconds to start."""
    step.tasks = 3
    assert step.run(instance, tags=TO_ALL).success
    assert OPENED == CLOSED == [step.layout.root]


def test_workers_are_closed_when_a_step_fails(step, instance):
    step.tasks = 3
    step.fails = {"south|train": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        step.run(instance, tags=TO_ALL)
    assert OPENED == CLOSED == [step.layout.root]


def test_a_step_that_asks_no_workers_opens_none(step, instance):
    assert step.run(instance, tags=TO_ALL).success
    assert OPENED == []


def _left_by_a_killed_run(path):
    """A file under the temporary name that a process publishes under."""
    leftover = path.with_name(f".{path.name}.{'0' * 16}.tmp")
    assert is_temporary(leftover.name)
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.write_bytes(b"half")
    return leftover


def test_what_a_killed_run_left_is_swept_from_this_partition_alone(step, instance):
    mine = [
        _left_by_a_killed_run(step.layout.chip_grid("north", "train")),
        _left_by_a_killed_run(step.layout.folder / "chip_grid/north/train/cluster-0.tif"),
    ]
    others = [
        _left_by_a_killed_run(step.layout.chip_grid("north", "test")),
        _left_by_a_killed_run(step.layout.folder / "chip_grid/south/train/cluster-0.tif"),
    ]
    assert step.run(instance, key="north|train").success
    assert not any(path.exists() for path in mine)
    assert all(path.exists() for path in others)


def test_a_bound_step_is_described_by_its_docstring(step):
    spec = step.asset.specs_by_key[dg.AssetKey(["tiny", "chip_grid"])]
    assert spec.description == "What a newcomer reads in the UI.\n\nIn two paragraphs."
    assert spec.group_name == "chips"
    assert [column.name for column in spec.metadata["dagster/column_schema"].columns] == ["a"]


def test_attribution_and_licence_are_shown_where_the_campaign_has_them(tmp_path):
    step = Step(tmp_path)
    assert "attribution" not in step.asset.specs_by_key[step.asset.key].metadata
    named = a_campaign(tmp_path, {"attribution": "Somebody", "licence": "CC-BY-4.0"})
    metadata = next(iter(step.step.bind(named).specs)).metadata
    assert (metadata["attribution"], metadata["licence"]) == ("Somebody", "CC-BY-4.0")


def test_numbers_of_numpy_become_rows_of_a_table():
    table = table_of([{"a": np.int32(3), "b": np.float32(0.5), "c": "x", "d": True}])
    assert table.records[0].data == {"a": 3, "b": 0.5, "c": "x", "d": True}
