"""Asset checks: standing questions to what was published, answered in words an operator can use.

A check reads results by path and changes nothing. What is left failed is a warning, never a red
run: a partial download must not block what can be made of the rest.
https://docs.dagster.io/guides/test/asset-checks
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.step import table_of
from geo_assets.partitions import fold_and_split, partition_keys

# Dagster reads the annotations of a function when it is defined.
from geo_assets.resources import Results  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from geo_assets.campaign import Campaign
    from geo_assets.sources.observations import FailedWindow
    from geo_assets.storage.layout import Layout

SAMPLE = 20
"""Problems shown by name; the count is always exact."""

Problems = list[dict[str, Any]]
"""One row for each problem, all with the same keys."""

RECOVERY = """\
**What to do**

- `transient`, `invalid_payload`, `corrupt`: nothing. The failed-chips sensor asks again; or
  materialize `chip_catalog` for the partition, which asks for these chips alone.
- `permanent`: the file or band is not there. Restore it, or leave the scene out (dates,
  `clouds.max_cover`), then materialize `scenes` and what follows.
- `geo-assets verify` reads and hashes every chip again.
"""


def build_checks(campaign: Campaign, names: AbstractSet[str]) -> list[dg.AssetChecksDefinition]:
    """Return the checks of the assets that a campaign has."""
    checks: list[tuple[str, str, str, Callable[[Layout, str, str], Problems]]] = [
        (
            "chip_catalog",
            "nothing_is_left_failed",
            "Every chip ended ok or as no imagery.",
            _failed_chips,
        ),
        (
            "chip_catalog",
            "every_ok_chip_has_its_file",
            "Each row that says ok has a file of the recorded size.",
            _chips_without_file,
        ),
        (
            "composite_image",
            "every_window_was_read",
            "No window of a composite is missing because a scene could not be read.",
            _composite_windows,
        ),
        (
            "ndvi_cube",
            "every_date_was_read",
            "No window of a cube is missing because a scene could not be read.",
            _cube_windows,
        ),
        (
            "ndvi_spatial_labels",
            "labels_are_of_their_model",
            "Each label raster holds nothing but 0 and the clusters of its model.",
            _spatial_labels,
        ),
        (
            "ndvi_temporal_labels",
            "labels_are_of_their_model",
            "Each label raster holds nothing but 0 and the clusters of its model.",
            _temporal_labels,
        ),
    ]
    return [
        _check(campaign, asset, name, text, find)
        for asset, name, text, find in checks
        if asset in names
    ]


def _check(
    campaign: Campaign,
    asset: str,
    name: str,
    description: str,
    find: Callable[[Layout, str, str], Problems],
) -> dg.AssetChecksDefinition:
    """A check that looks at every partition there is and passes if it finds no problem."""

    @dg.asset_check(asset=dg.AssetKey([campaign.name, asset]), name=name, description=description)
    def check(results: Results) -> dg.AssetCheckResult:
        layout = results.layout(campaign.name)
        problems = [
            {"partition": key, **problem}
            for key in partition_keys(campaign)
            for problem in find(layout, *fold_and_split(key))
        ]
        metadata: dict[str, Any] = {"count": len(problems)}
        if problems:
            metadata["sample"] = table_of(problems[:SAMPLE])
            metadata["recovery"] = dg.MetadataValue.md(RECOVERY)
        return dg.AssetCheckResult(
            passed=not problems,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{len(problems)} found" if problems else None,
            metadata=metadata,
        )

    return check


def _failed_chips(layout: Layout, fold: str, split: str) -> Problems:
    from geo_assets.storage.catalog import read_rows

    path = layout.chip_catalog(fold, split)
    return [
        {
            "chip_id": row.spec.chip_id,
            "error_kind": str(row.outcome.error_kind),
            "attempts": row.outcome.attempts,
            "error": str(row.outcome.error),
        }
        for row in (read_rows(path) if path.is_file() else [])
        if row.outcome.status == "failed"
    ]


def _chips_without_file(layout: Layout, fold: str, split: str) -> Problems:
    from geo_assets.storage.catalog import read_rows

    path = layout.chip_catalog(fold, split)
    problems: Problems = []
    for row in read_rows(path) if path.is_file() else []:
        if row.href is None:
            continue
        file = path.parent / row.href
        found = file.stat().st_size if file.is_file() else None
        if found != row.outcome.size:
            problems.append(
                {
                    "chip_id": row.spec.chip_id,
                    "found": "no file" if found is None else f"{found} bytes",
                    "recorded": f"{row.outcome.size} bytes",
                }
            )
    return problems


def _composite_windows(layout: Layout, fold: str, split: str) -> Problems:
    from geo_assets.sources.composites import Sidecar

    problems: Problems = []
    for path in sorted(layout.composite_images(fold, split).glob("cluster-*.json")):
        sidecar = Sidecar.read(path)
        windows = () if sidecar is None else sidecar.failed_windows
        problems += [_window_row(path.stem, window) for window in windows]
    return problems


def _cube_windows(layout: Layout, fold: str, split: str) -> Problems:
    from geo_assets.sources.cubes import failed_windows_of
    from geo_assets.storage.cube import open_cube

    problems: Problems = []
    for path in sorted(layout.ndvi_cubes(fold, split).glob("cluster-*.zarr")):
        with open_cube(path) as cube:
            problems += [_window_row(path.stem, window) for window in failed_windows_of(cube)]
    return problems


def _labels_beyond_their_model(folder: Path) -> Problems:
    from geo_assets.storage.cog import read_cog
    from geo_assets.storage.layout import model_of

    problems: Problems = []
    for path in sorted(folder.rglob("*.tif")):
        model = json.loads(model_of(path).read_text(encoding="utf-8"))
        highest = int(read_cog(path).data.max())
        if highest > len(model["centers"]):
            problems.append(
                {
                    "raster": path.relative_to(folder).as_posix(),
                    "highest_label": highest,
                    "clusters": len(model["centers"]),
                }
            )
    return problems


def _spatial_labels(layout: Layout, fold: str, split: str) -> Problems:
    return _labels_beyond_their_model(layout.ndvi_spatial_labels_folder(fold, split))


def _temporal_labels(layout: Layout, fold: str, split: str) -> Problems:
    return _labels_beyond_their_model(layout.ndvi_temporal_labels_folder(fold, split))


def _window_row(cluster: str, window: FailedWindow) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "scene": window.scene_id,
        "rows": f"{window.row} to {window.row + window.height}",
        "cols": f"{window.col} to {window.col + window.width}",
        "error_kind": window.kind,
        "error": window.error,
    }
