"""What the latest look at a source saw, and what the cubes were made of: two notes a partition.

The look is a run (``assets/scene_watch``), for it asks the network; ``ndvi_cube`` notes what it
used; the sensor reads both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish_json
from geo_assets.storage.json_files import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.core.new_scenes import SceneKey
    from geo_assets.storage.layout import Layout


@dataclass(frozen=True)
class SeenScenes:
    """The scenes that would be used if a run began now."""

    scenes: frozenset[SceneKey] = frozenset()
    """Cluster and id of each; of the latest look that the source answered."""
    problem: str = ""
    """Why the latest look saw nothing; empty: it was answered."""


def write_seen_scenes(path: Path, seen: SeenScenes) -> None:
    """Publish a note."""
    publish_json(path, {"scenes": sorted(seen.scenes), "problem": seen.problem})


def read_seen_scenes(path: Path) -> SeenScenes:
    """Return a note; one without scenes where nobody has looked yet.

    Raises:
        StorageError: If the file is damaged.
    """
    seen = read_json(
        path,
        lambda note: SeenScenes(_keys_of(note["scenes"]), str(note["problem"])),
        "note of seen scenes",
        "the next look writes it anew",
    )
    return SeenScenes() if seen is None else seen


@dataclass(frozen=True)
class UsedScenes:
    """The scenes that all cubes of a partition were made of, by cluster and id."""

    scenes: frozenset[SceneKey]
    unread: frozenset[SceneKey] = frozenset()
    """Those of which some pixels could not be read."""


def write_used_scenes(path: Path, used: UsedScenes) -> None:
    """Publish a note."""
    publish_json(path, {"scenes": sorted(used.scenes), "unread": sorted(used.unread)})


def used_scenes(layout: Layout, fold: str, split: str) -> UsedScenes | None:
    """Return the scenes that the cubes of a partition were made of.

    Where nobody noted it these are the scenes of its table, which other assets make as well: it may
    hold scenes that no cube has seen. None without either.

    Raises:
        StorageError: If a file is damaged.
    """
    path = layout.used_scenes(fold, split)
    used = read_json(
        path,
        # A note of an earlier version says nothing of scenes that were not read.
        lambda note: UsedScenes(_keys_of(note["scenes"]), _keys_of(note.get("unread", ()))),
        "note of used scenes",
        "materialize ndvi_cube, which writes it anew",
    )
    if used is not None:
        return used
    of_table = scenes_of_table(layout.scenes(fold, split))
    return None if of_table is None else UsedScenes(of_table)


def scenes_of_table(path: Path) -> frozenset[SceneKey] | None:
    """Return cluster and id of each scene of a published table of scenes; None without a table.

    Raises:
        StorageError: If the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["cluster", "id"], partitioning=None)
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path}: is no readable table of scenes: {error}") from error
    columns = (table["cluster"].to_pylist(), table["id"].to_pylist())
    return frozenset(zip(*columns, strict=True))


def _keys_of(pairs: Any) -> frozenset[SceneKey]:
    return frozenset((int(cluster), str(name)) for cluster, name in pairs)
