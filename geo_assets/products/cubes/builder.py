"""Cubes of AOI clusters: every clear day on one pixel grid, each day made once.

What is read is decided by day: scenes that are new or changed cost their days, and no other. How a
chunk of a day is read is in ``days``, what a cube holds in ``rules``, how it is published
in ``storage``.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_128_hexdigest

from geo_assets.core.chips import recipe_digest
from geo_assets.core.workers import Threads
from geo_assets.products.cubes.days import DayChunk, see_chunk
from geo_assets.products.cubes.facts import (
    FAILED_ATTRIBUTE,
    CubeFacts,
    facts_of,
    failed_of,
    outliers_of,
)
from geo_assets.products.cubes.known_cube import KnownCube, require_days_of_before
from geo_assets.products.cubes.making import DayInMaking
from geo_assets.products.cubes.rules import CubeRules
from geo_assets.products.observations import items_meeting
from geo_assets.products.recipes import grid_recipe, scene_pins, stated_values
from geo_assets.sources.scenes.order import observation_order, solar_day
from geo_assets.sources.scenes.reflectance_scale import reflectance_scale
from geo_assets.storage.cubes.days import (
    CubeHead,
    StoredDay,
    days_of,
    kept_days,
    sound_days,
    wrong_axes,
)
from geo_assets.storage.cubes.icechunk_cube import (
    SUFFIX,
    damage,
    is_repository,
    latest_snapshot,
    require_icechunk,
)
from geo_assets.storage.cubes.opening import metadata_agree, open_group
from geo_assets.storage.cubes.publication import Changes, publish_changes, smoothed_digest
from geo_assets.storage.cubes.stage import Stage, staged
from geo_assets.storage.disk import require_room
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.workers import Workers
    from geo_assets.sources.protocol import Item, RasterSource

__all__ = ["CubeBuilder", "CubeRules"]

RECIPE_ATTRIBUTE = "geo_assets_recipe"
OUTLIERS_ATTRIBUTE = "outliers"


@dataclass(frozen=True)
class CubeBuilder:
    """Builds the cube of one cluster, or of one tile of it.

    Attributes:
        source: Where pixels come from.
        items: The scenes; one that is there twice counts once.
        geobox: The pixel grid.
        area: (y, x) bool, the AOI; outside of it everything is missing.
        rules: How the cube is made.
        attrs: Title, attribution, licence.
    """

    source: RasterSource
    items: Sequence[Item]
    geobox: GeoBox
    area: NDArray[np.bool_]
    rules: CubeRules
    attrs: Mapping[str, str]

    def build(
        self,
        path: Path,
        progress: Callable[[int, int], None] | None = None,
        workers: Workers | None = None,
        replaces: Sequence[Path] = (),
    ) -> tuple[CubeFacts, str]:
        """Make the cube what it should be, reading no more days than that needs.

        Read are days that are new, whose scenes changed, of which a window could not be read, or
        whose values are damaged. Days without a scene any more are taken away. A day never loses
        pixels because they cannot be read just now: then it stays as it was.

        Args:
            path: Where the cube lies or will lie: Icechunk by its suffix, else plain Zarr.
            progress: Told (days done, days in all).
            workers: Who reads; None: threads of this process.
            replaces: Cubes of the same area that lie elsewhere, of another store for instance, and
                that the caller removes once this one is made.

        Returns:
            What it holds and what was done: ``built`` (there was none of these rules), ``extended``
            (days were added, changed or taken away), ``healed`` (what failed or was damaged is
            whole now), ``rewritten`` (attributes or smoothing changed, axes or metadata were
            damaged) or ``kept``.

        Raises:
            ReadError: The cube is to take the place of one of other rules, or of a damaged one, and
                a day of that could not be read again.
            StorageError: There is no room for the days, the disk refuses them, or Icechunk is not
                installed.
        """
        workers = workers or Threads()
        if path.suffix == SUFFIX:
            require_icechunk()
        try:
            known, afresh = self._known(path), False
        except damage():
            # However a store is damaged, another can be made.
            known, afresh = None, True
        asked = [day for day in self._by_day if known is None or self._must_be_read(day, known)]
        gone = set(known.days) - set(self._by_day) if known else set()
        changed = known is None or bool(gone)
        if asked or changed:
            first = min([*asked, *gone], default=None) if path.suffix == SUFFIX else None
            room = self._bytes_at_most(len(asked), known, first)
            require_room(path.parent, 0, f"cube {path.stem}", at_once=room)
        with staged(path, len(asked), self.geobox.shape.yx) as stage:
            days, slots = self._see(asked, stage, workers, progress)
            if known is None:
                for before in (path, *replaces):
                    if before.exists():
                        require_days_of_before(before, days)
            worse = {day for day, said in days.items() if known and known.is_better(day, said)}
            news = {
                day: said
                for day, said in days.items()
                if day not in worse and (known is None or known.is_news(day, said))
            }
            snapshot = None
            if path.suffix == SUFFIX and known and not worse and known.is_all_damaged:
                # A repository of which nothing can be read takes no transaction either.
                afresh = True
                news = {
                    day: said
                    for day, said in known.days.items()
                    if not said.kept and day not in gone
                } | news
            how = self._how(known, news, changed=changed)
            if how != "kept":
                slots = {day: slot for day, slot in slots.items() if day in news}
                damaged = known.damaged - news.keys() if known else ()
                changes = Changes(news, slots, gone, afresh, damaged)
                with writing(path):
                    snapshot = publish_changes(path, self._head, changes, stage)
        if how == "kept" and is_repository(path):
            snapshot = latest_snapshot(path)
        stay = {day: said for day, said in known.days.items() if day not in gone} if known else {}
        # Of a day that was read again and is the same, why windows failed is told as it is now.
        read = {day: said for day, said in days.items() if day not in worse}
        facts = facts_of(dict(sorted((stay | news | read).items())), self._inside)
        put_off = {day: failed_of([days[day]]) for day in sorted(worse)}
        unread = {each.scene_id for failed in (facts.failed, *put_off.values()) for each in failed}
        facts = replace(
            facts,
            snapshot=snapshot,
            put_off=tuple((day, failed[0].error) for day, failed in put_off.items()),
            unread=tuple(sorted(unread)),
        )
        return facts, how

    @cached_property
    def _by_day(self) -> dict[str, list[Item]]:
        """The scenes of each day, in order, each once: of twins the one that takes precedence."""
        unique: dict[str, Item] = {}
        for item in observation_order(items_meeting(self.items, self.geobox)):
            twin = unique.get(item["id"])
            if twin is None or _precedence(item) > _precedence(twin):
                unique[item["id"]] = item
        by_day: defaultdict[str, list[Item]] = defaultdict(list)
        for item in observation_order(unique.values()):
            by_day[str(solar_day(item))].append(item)
        return dict(sorted(by_day.items()))

    @cached_property
    def _inside(self) -> int:
        """Pixels of the area."""
        return int(np.count_nonzero(self.area))

    @cached_property
    def _rules_digest(self) -> str:
        """Digest of what decides every day."""
        return recipe_digest(
            {
                "source": self.source.describe(),
                "rules": self.rules.to_dict(),
                "grid": grid_recipe(self.geobox),
                "area": xxh3_128_hexdigest(np.ascontiguousarray(self.area).data),
            }
        )

    @cached_property
    def _head(self) -> CubeHead:
        return CubeHead(
            self.geobox,
            self._rules_digest,
            self.rules.variables,
            self._attributes_of,
            self.rules.smoothing,
        )

    def _pin(self, items: Sequence[Item]) -> str:
        """Return the digest of what decides one day beside the rules: its scenes, their scale."""
        return recipe_digest(
            {
                "scenes": scene_pins(items),
                "scales": self._scales(items),
                **stated_values(items, self.rules.bands),
            }
        )

    def _scales(self, items: Sequence[Item]) -> dict[str, float]:
        return {
            band: reflectance_scale(items, band, self.rules.scale)
            for band in self.rules.scaled_bands
        }

    def _recipe_of(self, pins: Mapping[str, str]) -> str:
        smoothing = self.rules.smoothing
        return recipe_digest(
            {
                "rules": self._rules_digest,
                "smoothing": None if smoothing is None else smoothing.to_dict(),
                "attributes": dict(self.attrs),
                "days": dict(pins),
            }
        )

    def _attributes_of(self, days: Mapping[str, StoredDay]) -> dict[str, Any]:
        return {
            **self.attrs,
            RECIPE_ATTRIBUTE: self._recipe_of({d: s.facts["pin"] for d, s in days.items()}),
            OUTLIERS_ATTRIBUTE: outliers_of(days),
            FAILED_ATTRIBUTE: json.dumps([asdict(window) for window in failed_of(days.values())]),
        }

    def _known(self, path: Path) -> KnownCube | None:
        """Return what a published cube holds; None if there is none of these rules.

        Raises:
            Exception: One of ``damage()`` if it is damaged beyond its days.
        """
        if not path.is_dir():
            return None
        group = open_group(path)
        days = days_of(group, self._rules_digest)
        if days is None:
            return None
        names = kept_days(days)
        # By threads, whoever reads: a day is but hashed, and its values stay on this disk.
        sound = sound_days(group, days, self._head.variables_of(days), Threads())
        smoothed = [each.name for each in self._head.smoothed_of(self._head.variables_of(days))]
        digest = smoothed_digest(group, smoothed)
        whole = (
            dict(group.attrs) == self._head.attributes_of(days, digest)
            and not wrong_axes(group, names, self.geobox)
            and (is_repository(path) or metadata_agree(path))
        )
        return KnownCube(days, frozenset(names) - sound, whole, group)

    def _bytes_at_most(self, asked: int, known: KnownCube | None, moved: str | None) -> int:
        """Return what may come onto the disk: uncompressed days, and smoothed copies of them all.

        Args:
            asked: Days that are read.
            known: What lies there; days that stay are not written again.
            moved: The day from which on days are written into the store beside the stage; None:
                they are but moved or linked.
        """
        dtypes: dict[str, str] = {}
        for day in known.days.values() if known else ():
            dtypes |= day.dtypes
        variables = self.rules.variables(dtypes)
        of_a_day = sum(np.dtype(variable.dtype).itemsize for variable in variables)
        copied = 0 if moved is None else sum(day >= moved for day in self._by_day)
        smoothed = len(self._head.smoothed_of(variables)) * np.dtype(np.int16).itemsize
        values = of_a_day * (asked + copied) + smoothed * len(self._by_day)
        return values * math.prod(self.geobox.shape)

    def _must_be_read(self, day: str, known: KnownCube) -> bool:
        """Whether a day has to be read."""
        said = known.days.get(day)
        return (
            said is None
            or day in known.damaged
            or bool(said.facts["failed"])
            or said.facts["pin"] != self._pin(self._by_day[day])
        )

    def _how(self, known: KnownCube | None, news: Mapping[str, StoredDay], *, changed: bool) -> str:
        if known is None:
            return "built"
        if changed or any(
            day not in known.days or said.facts["pin"] != known.days[day].facts["pin"]
            for day, said in news.items()
        ):
            return "extended"
        if news:
            return "healed"
        return "kept" if known.whole else "rewritten"

    def _see(
        self,
        asked: Sequence[str],
        stage: Stage,
        workers: Workers,
        progress: Callable[[int, int], None] | None,
    ) -> tuple[dict[str, StoredDay], dict[str, int]]:
        """Read days onto the stage; return what is known of each, and the slots of those kept."""
        days: dict[str, StoredDay] = {}
        slots: dict[str, int] = {}
        chunks = stage.chunks()
        seen = workers.map(see_chunk, self._tasks(asked, stage))
        for slot, day in enumerate(asked):
            made = DayInMaking(self.rules, self._inside, stage, slot)
            for chunk in chunks:
                made.add(chunk, next(seen))
            days[day] = made.finished(self._pin(self._by_day[day]))
            if days[day].kept:
                slots[day] = slot
            if progress is not None:
                progress(slot + 1, len(asked))
        return days, slots

    def _tasks(self, asked: Sequence[str], stage: Stage) -> Iterator[DayChunk]:
        everywhere = self._inside == self.area.size
        for day in asked:
            items = self._by_day[day]
            scales = self._scales(items)
            for _, rows, cols in stage.chunks():
                area = self.area[rows, cols]
                yield DayChunk(
                    day,
                    self.source,
                    items,
                    self.geobox[rows, cols],
                    rows.start,
                    cols.start,
                    stage.edges,
                    None if everywhere or area.all() else area,
                    self.rules,
                    scales,
                )


def _precedence(item: Item) -> tuple[Any, str]:
    """What decides between twins, in whatever order they come."""
    return scene_pins([item]), json.dumps(item, sort_keys=True, default=str)
