"""What every asset of the graph has in common: one function for one fold × split, wrapped once.

A step is a plain function from a ``Partition`` to facts for people (metadata). ``AssetStep.bind``
makes it a Dagster asset: key prefix, partitions, group, description (the step's docstring), and a
loop over the partition keys of a run, so that a range of partitions costs one process.

Without ``from __future__ import annotations``: Dagster compares the annotation of ``context`` with
the class itself.
"""

import hashlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from geo_assets.compute import WorkersAtFirstUse
from geo_assets.core.workers import Threads, Workers
from geo_assets.errors import LockedError
from geo_assets.partitions import fold_and_split, fold_split_partitions
from geo_assets.resources import Compute, ImagerySource, Results
from geo_assets.storage.atomic import sweep_temporaries, sweep_temporaries_of
from geo_assets.storage.partition_lock import partition_lock

if TYPE_CHECKING:
    from pathlib import Path

    from odc.geo.geobox import GeoBox

    from geo_assets.campaign import Campaign
    from geo_assets.sources.protocol import RasterSource, ServerSource
    from geo_assets.storage.layout import Layout

SHOWN_PIXELS = 1200
"""Rows and columns of a raster that previews are drawn from, at most about."""

Facts = Mapping[str, Any]
"""Metadata of one materialization: plain numbers and strings, or Dagster metadata values."""


EARTH_ENGINE_POOL = "earth_engine"
DATA_VERSION = "data_version"
"""Key of the fact that is a partition's data version, where a store gives its states names."""


@dataclass(frozen=True)
class Partition:
    """One fold × split of one campaign, while a run materializes it."""

    campaign: "Campaign"
    layout: "Layout"
    fold: str
    split: str
    imagery: ImagerySource
    run_id: str
    log: logging.Logger
    workers: Workers = field(default_factory=Threads)
    """Who does what is cut into blocks; one cluster serves all partitions of a run."""

    @cached_property
    def source(self) -> "RasterSource | ServerSource":
        """The campaign's imagery, opened at first use."""
        return self.imagery.open(self.campaign, self.layout)

    @property
    def raster_source(self) -> "RasterSource":
        """The imagery where scenes are read here; ``build`` binds such steps to no other."""
        return cast("RasterSource", self.source)

    @property
    def server_source(self) -> "ServerSource":
        """The imagery where scenes stay on a server."""
        return cast("ServerSource", self.source)

    def __str__(self) -> str:
        """``north|train``, as Dagster writes it."""
        return f"{self.fold}|{self.split}"


@dataclass(frozen=True)
class AssetStep:
    """A step of the graph before it is bound to a campaign."""

    make: Callable[[Partition], Facts]
    group: str
    kinds: frozenset[str]
    upstream: tuple[str, ...]
    columns: dg.TableSchema | None
    metadata: Mapping[str, Any]
    asks_imagery: bool
    needs_first: Callable[["Campaign"], str | None]

    @property
    def name(self) -> str:
        """Name of the asset, without the campaign's prefix."""
        return self.make.__name__

    def bind(self, campaign: "Campaign") -> dg.AssetsDefinition:
        """Return the Dagster asset of this step in one campaign."""
        key = dg.AssetKey([campaign.name, self.name])
        metadata = dict(self.metadata)
        if self.columns is not None:
            metadata["dagster/column_schema"] = self.columns
        if campaign.attribution:
            metadata["attribution"] = campaign.attribution
        if campaign.licence:
            metadata["licence"] = campaign.licence

        # A range of partitions as one run is what this platform is about, beta or not.
        with warnings.catch_warnings(action="ignore", category=dg.BetaWarning):
            return self._bind(campaign, key, metadata)

    def _bind(
        self, campaign: "Campaign", key: dg.AssetKey, metadata: Mapping[str, Any]
    ) -> dg.AssetsDefinition:
        @dg.asset(
            key=key,
            deps=[dg.AssetKey([campaign.name, name]) for name in self.upstream],
            partitions_def=fold_split_partitions(campaign),
            backfill_policy=dg.BackfillPolicy.single_run(),
            group_name=self.group,
            kinds=set(self.kinds),
            owners=list(campaign.owners),
            description=cleandoc(self.make.__doc__ or ""),
            metadata=metadata,
            pool=imagery_pool(campaign) if self.asks_imagery else None,
        )
        def materialize(
            context: dg.AssetExecutionContext,
            results: Results,
            imagery: ImagerySource,
            compute: Compute,
        ) -> None:
            layout, run = results.layout(campaign.name), context.run.run_id
            with WorkersAtFirstUse(lambda: compute.open(layout.root)) as workers:

                def partition_of(key: str) -> Partition:
                    fold, split = fold_and_split(key)
                    return Partition(
                        campaign, layout, fold, split, imagery, run, context.log, workers
                    )

                first = self.needs_first(campaign)
                keys = sorted(context.partition_keys, key=lambda key: key != first)
                self._make_each(context, keys, partition_of)

        return materialize

    def _make_each(
        self,
        context: dg.AssetExecutionContext,
        keys: Sequence[str],
        partition_of: Callable[[str], Partition],
    ) -> None:
        """Make every partition of the run; one that fails does not keep the others from trying."""
        made: dict[str, Facts] = {}
        failures: dict[str, Exception] = {}
        try:
            for key in keys:
                try:
                    made[key] = self._make_one(partition_of(key))
                except Exception as error:
                    if len(keys) == 1:
                        raise
                    context.log.exception(f"{self.name} {key} failed")
                    failures[key] = error
        except BaseException:
            _record(context, made)
            raise
        if failures:
            _record(context, made)
            reasons = "; ".join(f"{key}: {error}" for key, error in failures.items())
            raise dg.Failure(
                f"{self.name} failed for {len(failures)} of {len(keys)} partitions: {reasons}"
            )
        for key, facts in made.items():
            context.add_asset_metadata(facts, asset_key=context.asset_key, partition_key=key)
        version = _version_of(made)
        if version is not None:
            context.set_data_version(context.asset_key, dg.DataVersion(version))

    def _make_one(self, partition: Partition) -> Facts:
        layout, fold, split = partition.layout, partition.fold, partition.split
        try:
            with partition_lock(layout.lock(self.name, fold, split), run_id=partition.run_id):
                _sweep(layout.folder / self.name / fold, split)
                return self.make(partition)
        except LockedError as error:
            raise LockedError(f"{self.name} {partition}: {error}") from None


def imagery_pool(campaign: "Campaign") -> str | None:
    """Return the pool of the steps that ask a campaign's imagery; None where nobody counts.

    A pool bounds how many steps of a Dagster instance ask Earth Engine at once; how many requests
    they have in flight is bounded on each machine (``sources/earth_engine/machine_limits.py``).
    https://docs.dagster.io/guides/operate/managing-concurrency/concurrency-pools
    """
    return EARTH_ENGINE_POOL if campaign.imagery.kind == "earth-engine" else None


def _version_of(made: Mapping[str, Facts]) -> str | None:
    """Return the data version that a run's steps state, None if none does.

    Dagster knows one for all partitions of a run: of several it is the digest of what each states;
    each partition's own is in its metadata.
    """
    stated = {key: str(facts[DATA_VERSION]) for key, facts in made.items() if DATA_VERSION in facts}
    if len(made) == 1 or not stated:
        return next(iter(stated.values()), None)
    lines = "".join(f"{key} {version}\n" for key, version in sorted(stated.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _record(context: dg.AssetExecutionContext, made: Mapping[str, Facts]) -> None:
    """Tell Dagster what was made by a step that is about to fail or to be stopped.

    Such a step records nothing by itself.
    """
    for key, facts in made.items():
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=facts))


def _sweep(folder: "Path", split: str) -> None:
    """Remove what a killed run of this asset left under temporary names."""
    sweep_temporaries_of(folder / f"{split}.parquet")
    sweep_temporaries(folder / split)


def asset_step(
    *,
    group: str,
    kinds: set[str],
    upstream: tuple[str, ...] = (),
    columns: Mapping[str, tuple[str, str]] | None = None,
    metadata: Mapping[str, Any] | None = None,
    asks_imagery: bool = False,
    needs_first: Callable[["Campaign"], str | None] = lambda _: None,
) -> Callable[[Callable[[Partition], Facts]], AssetStep]:
    """Declare a function as a step of the graph.

    Args:
        group: Group in the UI.
        kinds: Kinds shown as icons and words in the UI.
        upstream: Names of the steps it reads.
        columns: Name -> (type, description) of the table it writes.
        metadata: Further facts that hold for every partition.
        asks_imagery: Whether it sends requests to the source of imagery, see ``imagery_pool``.
        needs_first: Returns the key of the partition that the others read, None if there is none:
            a run of several begins with it.
    """
    schema = None
    if columns is not None:
        schema = dg.TableSchema(
            columns=[
                dg.TableColumn(name=name, type=kind, description=text)
                for name, (kind, text) in columns.items()
            ]
        )

    def declare(make: Callable[[Partition], Facts]) -> AssetStep:
        return AssetStep(
            make,
            group,
            frozenset(kinds),
            upstream,
            schema,
            metadata or {},
            asks_imagery,
            needs_first,
        )

    return declare


def shown_step(geobox: "GeoBox") -> int:
    """Return of how many rows and columns one is shown."""
    return max(1, -(-max(geobox.shape.yx) // SHOWN_PIXELS))


def table_of(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return rows with the same keys as a table for people; numpy's numbers become Python's."""
    # Dagster reads the columns off the first row; without any it wants to be told.
    schema = None if rows else dg.TableSchema(columns=[])
    return dg.MetadataValue.table(
        [dg.TableRecord({key: _plain(value) for key, value in row.items()}) for row in rows],
        schema=schema,
    )


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own number, anything else as it is."""
    return value.item() if hasattr(value, "item") else value
