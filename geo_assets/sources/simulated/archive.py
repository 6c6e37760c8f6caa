"""Writing the archive: whole or not at all, once, byte for byte the same for the same spec."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from geo_assets.errors import SourceError
from geo_assets.sources.simulated.acquisitions import acquisitions
from geo_assets.sources.simulated.cogs import write_cog
from geo_assets.sources.simulated.faults import damage, item_href
from geo_assets.sources.simulated.labels import label_collections
from geo_assets.sources.simulated.landscape import build_landscape
from geo_assets.sources.simulated.records import (
    SCL,
    catalog_record,
    collection_record,
    item_record,
)
from geo_assets.sources.simulated.scene import SCL_RESOLUTION, Scene, ground_of
from geo_assets.sources.simulated.tiles import west_and_east
from geo_assets.sources.simulated.truth import write_truth
from geo_assets.sources.simulated.weather import sky_of_the_day
from geo_assets.storage.atomic import publish_directory, sweep_temporaries_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from geo_assets.sources.simulated.acquisitions import Acquisition
    from geo_assets.sources.simulated.landscape import Landscape
    from geo_assets.sources.simulated.scene import Ground
    from geo_assets.sources.simulated.spec import ArchiveSpec

MARKER = "archive.json"
_THREADS = 2
_SCL_CLASSES = 12


def write(folder: Path, spec: ArchiveSpec, progress: Callable[[int, int], None] | None) -> None:
    """Write the archive of a spec to ``folder``, unless it is there already.

    An archive of another spec is replaced whole. Safe with other writers of the same folder.

    Raises:
        SourceError: The folder holds something that is not a simulated archive.
    """
    if _holds(folder, spec):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if _holds(folder, spec):
            return
        _refuse_foreign(folder)
        sweep_temporaries_of(folder)
        with publish_directory(folder) as fresh:
            _write_all(fresh, spec, progress)


def _holds(folder: Path, spec: ArchiveSpec) -> bool:
    try:
        marker = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("digest") == spec.digest()


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and not (folder / MARKER).is_file() and any(folder.iterdir()):
        raise SourceError(
            f"{folder}: holds files that are not a simulated archive (no {MARKER}); "
            "name an empty or a new folder"
        )


@dataclass(frozen=True)
class _Studio:
    """What all scenes of an archive share."""

    folder: Path
    spec: ArchiveSpec
    landscape: Landscape
    grounds: dict[str, Ground]


def _write_all(
    folder: Path, spec: ArchiveSpec, progress: Callable[[int, int], None] | None
) -> None:
    landscape = build_landscape(spec)
    grounds = {tile.name: ground_of(landscape, tile) for tile in west_and_east(spec)}
    planned = acquisitions(spec.year)
    write_truth(folder / "truth", landscape, grounds, planned)
    (folder / "labels").mkdir()
    for fold, collection in label_collections(landscape, spec).items():
        _write_json(folder / "labels" / f"{fold}.geojson", collection)
    items = _write_scenes(_Studio(folder, spec, landscape, grounds), planned, progress)
    _write_json(folder / "catalog.json", catalog_record())
    _write_json(folder / "collection.json", collection_record(spec, items))
    marker = {"digest": spec.digest(), "spec": asdict(spec), "items": len(items)}
    _write_json(folder / MARKER, marker)


def _write_scenes(
    studio: _Studio,
    planned: tuple[Acquisition, ...],
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """Write all items, two dates at a time; return their records in the order of ``planned``."""
    by_date: dict[Any, list[Acquisition]] = defaultdict(list)
    for item in planned:
        by_date[item.date].append(item)
    records: dict[str, dict[str, Any]] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = [pool.submit(_write_date, studio, items, stop) for items in by_date.values()]
        try:
            for job in as_completed(jobs):
                records |= job.result()
                if progress is not None:
                    progress(len(records), len(planned))
        except BaseException:
            # The pool waits for its threads: let them come to an end soon.
            stop.set()
            raise
    return [records[item.item_id] for item in planned]


def _write_date(
    studio: _Studio, items: list[Acquisition], stop: threading.Event
) -> dict[str, dict[str, Any]]:
    if stop.is_set():
        return {}
    shape = studio.landscape.cover.shape
    sky = sky_of_the_day(studio.spec.seed, items[0].date, items[0].cover, shape)
    records: dict[str, dict[str, Any]] = {}
    for item in items:
        ground = studio.grounds[item.tile]
        scene = Scene(studio.landscape, ground, item, sky, studio.spec.seed)
        records[item.item_id] = _write_item(studio.folder, item, ground, scene)
    return records


def _write_item(folder: Path, item: Acquisition, ground: Ground, scene: Scene) -> dict[str, Any]:
    home = folder / "items" / item.item_id
    home.mkdir(parents=True)
    for name, resolution, numbers in scene.bands():
        if name not in (*item.absent_bands, *item.lost_bands):
            write_cog(folder / item_href(item, name), numbers, ground.tile.lattice(resolution))
    classes = scene.classification()
    write_cog(folder / item_href(item, SCL), classes, ground.tile.lattice(SCL_RESOLUTION))
    for band in item.damaged_bands:
        damage(folder, item, band)
    record = item_record(item, ground.tile, *_class_shares(classes))
    _write_json(home / f"{item.item_id}.json", record)
    return record


def _class_shares(classes: NDArray[np.uint8]) -> tuple[dict[int, float], float]:
    """Return the share of each class among what was seen and the share of no data, in percent."""
    count = np.bincount(classes.ravel(), minlength=_SCL_CLASSES)
    seen = int(count[1:].sum())
    shares = {value: 100 * int(count[value]) / seen for value in range(1, _SCL_CLASSES)}
    return shares, 100 * int(count[0]) / classes.size


def _write_json(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
