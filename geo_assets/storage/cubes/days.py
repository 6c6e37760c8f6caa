"""What a cube says of itself: the rules of all its days, and what each day was made of.

A cube changes day by day. Whatever depends on one day is recorded with it, so that the days of a
cube need not be made again, and so that the cube says the same however its days came together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping  # noqa: TC003  # types of fields of dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_128_hexdigest

from geo_assets.core.index_catalogue import SMOOTHED
from geo_assets.core.smoothing import SmoothingRules  # noqa: TC001  # type of a field
from geo_assets.storage.cubes.chunk_files import chunk_digest
from geo_assets.storage.cubes.format import (
    CONVENTIONS,
    CubeVariable,
    chunk_slices,
    coordinates_of,
    index_variable,
)
from geo_assets.storage.cubes.icechunk_cube import damage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import zarr
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.workers import Workers

RULES_ATTRIBUTE = "geo_assets_rules"
DAYS_ATTRIBUTE = "geo_assets_days"
CHECKSUM_ATTRIBUTE = "geo_assets_checksum"


@dataclass(frozen=True)
class StoredDay:
    """What is known of one day that was looked at.

    Attributes:
        digest: Of its stored values, see ``day_digest``; None: the day has no place in the cube,
            because too little of it is clear.
        dtypes: numpy's name of the dtype of each band, which the source decides.
        facts: Whatever else its maker wants to find again, as JSON values.
    """

    digest: str | None
    dtypes: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the day is in the cube."""
        return self.digest is not None


@dataclass(frozen=True)
class CubeHead:
    """What holds for all days of a cube.

    Attributes:
        geobox: The pixel grid.
        rules: Digest of everything that decides every day; days of other rules are not kept.
        variables: The variables, given the dtype of each band.
        attributes: Attributes of the whole cube, given its days.
        smoothing: How the smoothed copies of its indices are made; None: it has none.
    """

    geobox: GeoBox
    rules: str
    variables: Callable[[Mapping[str, str]], tuple[CubeVariable, ...]]
    attributes: Callable[[Mapping[str, StoredDay]], Mapping[str, Any]]
    smoothing: SmoothingRules | None = None

    def variables_of(self, days: Mapping[str, StoredDay]) -> tuple[CubeVariable, ...]:
        """Return the variables that are read from scenes."""
        dtypes: dict[str, str] = {}
        for _, day in sorted(days.items()):
            dtypes |= day.dtypes
        return self.variables(dtypes)

    def smoothed_of(self, variables: Iterable[CubeVariable]) -> tuple[CubeVariable, ...]:
        """Return the smoothed copy of each index among the variables."""
        if self.smoothing is None:
            return ()
        how = self.smoothing.describe()
        copies = {
            each.name + SMOOTHED: index_variable(
                each.name + SMOOTHED,
                long_name=f"{each.attributes.get('long_name', each.name)}, smoothed",
                comment=how,
            )
            for each in variables
            if "scale_factor" in each.attributes
        }
        return tuple(copies[name] for name in smoothed_in_order(copies))

    def attributes_of(self, days: Mapping[str, StoredDay], smoothed: str | None) -> dict[str, Any]:
        """Return every attribute of the cube.

        Args:
            days: All days that were looked at.
            smoothed: Digest of the smoothed variables, if there are any.
        """
        records = {
            name: {"digest": day.digest, "dtypes": dict(day.dtypes), "facts": dict(day.facts)}
            for name, day in sorted(days.items())
        }
        return {
            **CONVENTIONS,
            **self.attributes(days),
            RULES_ATTRIBUTE: self.rules,
            CHECKSUM_ATTRIBUTE: checksum_of(days, smoothed),
            # As text: netCDF knows no nested attributes.
            DAYS_ATTRIBUTE: json.dumps(records, sort_keys=True, separators=(",", ":")),
        }


def smoothed_in_order(names: Iterable[str]) -> list[str]:
    """Return the smoothed copies among the names of variables, in the order of their digest.

    It must not depend on the order in which a campaign names indices.
    """
    originals = sorted(n.removesuffix(SMOOTHED) for n in names if n.endswith(SMOOTHED))
    return [original + SMOOTHED for original in originals]


def checksum_of(days: Mapping[str, StoredDay], smoothed: str | None) -> str:
    """Return the XXH3 (128 bits) of all values of a cube, taken of the digests of its days.

    Args:
        days: All days that were looked at.
        smoothed: Digest of the smoothed variables, if there are any.
    """
    lines = [f"{name} {days[name].digest}\n" for name in kept_days(days)]
    if smoothed is not None:
        lines.append(f"smoothed {smoothed}\n")
    return xxh3_128_hexdigest("".join(lines).encode())


def days_of(group: zarr.Group, rules: str) -> dict[str, StoredDay] | None:
    """Return the days that a published cube knows; None if it is of other rules or none of ours."""
    if group.attrs.get(RULES_ATTRIBUTE) != rules:
        return None
    records = json.loads(str(group.attrs[DAYS_ATTRIBUTE]))
    return {
        name: StoredDay(record["digest"], record["dtypes"], record["facts"])
        for name, record in sorted(records.items())
    }


def kept_days(days: Mapping[str, StoredDay]) -> list[str]:
    """Return the days that have a place in the cube, in the order of its time axis."""
    return sorted(name for name, day in days.items() if day.kept)


def times_of(names: Iterable[str]) -> NDArray[np.datetime64]:
    """Return the time axis of days given by name, ``YYYY-MM-DD``."""
    return np.array(list(names), "datetime64[D]").astype("datetime64[ms]")


def wrong_axes(group: zarr.Group, names: list[str], geobox: GeoBox) -> list[str]:
    """Return the coordinates of a cube that are not those of a grid and of days, or damaged."""
    return [
        name
        for name, wanted in coordinates_of(times_of(names), geobox).items()
        if not _holds(group, name, wanted.values)
    ]


def _holds(group: zarr.Group, name: str, wanted: NDArray[Any]) -> bool:
    try:
        return np.array_equal(np.asarray(array_of(group, name)[...]), wanted)
    except damage():
        return False


def days_recorded(group: zarr.Group) -> dict[str, Mapping[str, Any]]:
    """Return the facts of each day that a published cube holds, whatever its rules and version."""
    try:
        records = json.loads(str(group.attrs[DAYS_ATTRIBUTE]))
        return {
            name: record["facts"]
            for name, record in records.items()
            # An earlier version said how the digest was taken.
            if record.get("digest", record.get("sha256")) is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def sound_days(
    group: zarr.Group,
    days: Mapping[str, StoredDay],
    variables: Iterable[CubeVariable],
    workers: Workers,
) -> set[str]:
    """Return the days whose values are those that were written, by their digests."""
    arrays = [array_of(group, variable.name) for variable in variables]
    names = kept_days(days)
    digests = workers.map(partial(_digest_or_none, arrays), range(len(names)))
    return {
        name
        for name, digest in zip(names, digests, strict=True)
        if digest is not None and digest == days[name].digest
    }


def day_digest(arrays: Iterable[zarr.Array[Any]], position: int) -> str:
    """Return the XXH3 (128 bits) of one day's stored values, of all variables.

    It is taken of the digests of the chunks, so that chunks can be looked at in any order; a chunk
    that was lost reads as missing and gives another digest.
    """
    chunks = {}
    for array in arrays:
        for chunk in chunk_slices((1, *array.shape[1:]), array.chunks):
            values = np.asarray(array[position, chunk[1], chunk[2]])
            chunks[array.basename, chunk[1].start, chunk[2].start] = chunk_digest(values)
    return digest_of_chunks(chunks)


def digest_of_chunks(chunks: Mapping[tuple[str, int, int], str]) -> str:
    """Return the digest of a day from those of its chunks by variable, row and column."""
    lines = [f"{name} {row} {col} {digest}\n" for (name, row, col), digest in chunks.items()]
    return xxh3_128_hexdigest("".join(sorted(lines)).encode())


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array of a group."""
    array: Any = group[name]
    found: zarr.Array[Any] = array
    return found


def _digest_or_none(arrays: list[zarr.Array[Any]], position: int) -> str | None:
    try:
        return day_digest(arrays, position)
    except damage():
        # However a chunk is damaged, the day can be made again.
        return None
