"""Where every asset of a campaign lies: the one place that knows paths.

Paths only: nothing here opens, makes or removes a file, and no heavy library is imported, because
definitions load this module. Names that become parts of a path are checked, never cleaned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AREA = re.compile(r"cluster-(?P<cluster>[0-9]+)(-[0-9A-Z]{1,16})?")


@dataclass(frozen=True)
class Layout:
    """The folder of one campaign and the paths below it.

    Raises:
        StorageError: A name does not match ``^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$``, or a path would
            leave ``root`` (through a symbolic link, for instance).
    """

    root: Path
    """Folder of all results (GEO_ASSETS_DATA)."""

    campaign: str
    """Name of the campaign: the first folder below the root."""

    def __post_init__(self) -> None:
        _checked("campaign", self.campaign)

    @property
    def folder(self) -> Path:
        """Folder of everything the campaign publishes."""
        return self._below()

    def labels(self, fold: str, split: str) -> Path:
        """GeoParquet table of validated label polygons."""
        return self._partition("labels", fold, split, ".parquet")

    def aoi_clusters(self, fold: str, split: str) -> Path:
        """GeoParquet table of the polygons with their cluster; the boxes in its metadata."""
        return self._partition("aoi_clusters", fold, split, ".parquet")

    def scenes(self, fold: str, split: str) -> Path:
        """stac-geoparquet table of the scenes used, with their cluster."""
        return self._partition("scenes", fold, split, ".parquet")

    def composite_images(self, fold: str, split: str) -> Path:
        """Folder of the composite images of one partition."""
        return self._partition("composite_image", fold, split)

    def composite_image(self, fold: str, split: str, cluster: int) -> Path:
        """COG of bands and label band of one cluster."""
        return self.composite_images(fold, split) / f"{_cluster(cluster)}.tif"

    def composite_sidecar(self, fold: str, split: str, cluster: int) -> Path:
        """JSON beside the composite: its recipe and the windows that could not be read.

        Of a composite that stays on a server it is the composite: its expression.
        """
        return self.composite_images(fold, split) / f"{_cluster(cluster)}.json"

    def composite_preview(self, fold: str, split: str, cluster: int) -> Path:
        """PNG beside the expression of a composite that stays on a server."""
        return self.composite_images(fold, split) / f"{_cluster(cluster)}.png"

    def chip_grid(self, fold: str, split: str) -> Path:
        """GeoParquet table of chip footprints."""
        return self._partition("chip_grid", fold, split, ".parquet")

    def chip_catalog(self, fold: str, split: str) -> Path:
        """stac-geoparquet catalog, one row a chip."""
        return self._partition("chip_catalog", fold, split, ".parquet")

    def chips_folder(self, fold: str, split: str) -> Path:
        """Folder of the chip files of one partition."""
        return self._partition("chips", fold, split)

    def ndvi_cubes(self, fold: str, split: str) -> Path:
        """Folder of the NDVI cubes of one partition."""
        return self._partition("ndvi_cube", fold, split)

    def ndvi_cube(
        self, fold: str, split: str, cluster: int, *, tile: str | None = None, store: str = "zarr"
    ) -> Path:
        """Store of one cluster's cube, or of one MGRS tile's (``33UUU``) within the cluster."""
        name = (
            _cluster(cluster) if tile is None else f"{_cluster(cluster)}-{_checked('tile', tile)}"
        )
        return self.ndvi_cubes(fold, split) / f"{name}.{_checked('store', store)}"

    def ndvi_spatial_labels_folder(self, fold: str, split: str) -> Path:
        """Folder of the spatial label rasters of one partition."""
        return self._partition("ndvi_spatial_labels", fold, split)

    def ndvi_spatial_labels(self, fold: str, split: str, area: int | str, date: str) -> Path:
        """Label raster of one date (``YYYY-MM-DD``) of one cluster, or of a cube by its name."""
        if not _DATE.fullmatch(date):
            raise StorageError(f"date {date!r} cannot name a file; YYYY-MM-DD is allowed")
        return self.ndvi_spatial_labels_folder(fold, split) / _area(area) / f"{date}.tif"

    def ndvi_spatial_model(self, fold: str, split: str, area: int | str) -> Path:
        """JSON of the model that all dates of a cluster, or of a cube by its name, share."""
        return self.ndvi_spatial_labels_folder(fold, split) / f"{_area(area)}.json"

    def ndvi_temporal_labels_folder(self, fold: str, split: str) -> Path:
        """Folder of the temporal label rasters of one partition."""
        return self._partition("ndvi_temporal_labels", fold, split)

    def ndvi_temporal_labels(self, fold: str, split: str, area: int | str) -> Path:
        """Label raster of the NDVI series of one cluster, or of a cube by its name."""
        return self.ndvi_temporal_labels_folder(fold, split) / f"{_area(area)}.tif"

    def ndvi_label_changes_folder(self, fold: str, split: str) -> Path:
        """Folder of the change maps of one partition."""
        return self._partition("ndvi_label_changes", fold, split)

    def ndvi_label_changes(self, fold: str, split: str, area: int | str) -> Path:
        """Change map of the spatial labels of one cluster, or of a cube by its name.

        Its tables lie beside it as JSON, see ``model_of``.
        """
        return self.ndvi_label_changes_folder(fold, split) / f"{_area(area)}.tif"

    def land_cover_labels_folder(self, fold: str, split: str) -> Path:
        """Folder of the land-cover label rasters of one partition."""
        return self._partition("land_cover_labels", fold, split)

    def land_cover_labels(self, fold: str, split: str, cluster: int) -> Path:
        """Label raster of the composite's bands of one cluster."""
        return self.land_cover_labels_folder(fold, split) / f"{_cluster(cluster)}.tif"

    def journal_folder(self, fold: str, split: str) -> Path:
        """Folder of the chip journals of one partition's runs."""
        return self._partition(".state/journal", fold, split)

    def chip_stamps(self, fold: str, split: str) -> Path:
        """JSON of the chip files' sizes and times when they were published."""
        return self._partition(".state/stamps", fold, split, ".json")

    def seen_scenes(self, fold: str, split: str) -> Path:
        """JSON of the scenes that the latest look at the source saw."""
        return self._partition(".state/seen_scenes", fold, split, ".json")

    def used_scenes(self, fold: str, split: str) -> Path:
        """JSON of the scenes that the published cubes were made of."""
        return self._partition(".state/used_scenes", fold, split, ".json")

    @property
    def locks(self) -> Path:
        """Folder of every lock file of the campaign, with their owners beside them."""
        return self._below(".state/locks")

    def lock(self, asset: str, fold: str, split: str) -> Path:
        """Lock file of one asset's partition."""
        return self._partition(f".state/locks/{_checked('asset', asset)}", fold, split, ".lock")

    def _partition(self, asset: str, fold: str, split: str, suffix: str = "") -> Path:
        return self._below(asset, _checked("fold", fold), _checked("split", split) + suffix)

    def _below(self, *parts: str) -> Path:
        path = self.root.joinpath(self.campaign, *parts)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise StorageError(f"{path}: lies outside {self.root}; results must stay below it")
        return path


def cluster_of(name: str) -> int:
    """Return the AOI cluster that a cube's name says: 0 for ``cluster-0`` and ``cluster-0-33UUU``.

    Raises:
        StorageError: If it is no cube's name.
    """
    return int(_named(name)["cluster"])


def model_of(labels: Path) -> Path:
    """JSON of the model (centres, scaling, K report) beside its label raster."""
    return labels.with_suffix(".json")


def k_report_of(labels: Path) -> Path:
    """JSON of the K report beside a label raster or a model whose K it chose."""
    return labels.with_suffix(".k-report.json")


def _checked(field: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise StorageError(
            f"{field} {name!r} cannot name a folder; allowed are letters A-Z, a-z, digits, "
            "'_' and '-', at most 64, the first a letter or a digit"
        )
    return name


def _cluster(cluster: int) -> str:
    if cluster < 0:
        raise StorageError(f"cluster {cluster} cannot name a file; it counts from 0")
    return f"cluster-{cluster}"


def _area(area: int | str) -> str:
    """A cluster by its number, or a cube by its name: ``cluster-0`` or ``cluster-0-33UUU``."""
    if isinstance(area, int):
        return _cluster(area)
    return _named(area)[0]


def _named(area: str) -> re.Match[str]:
    match = _AREA.fullmatch(area)
    if match is None:
        raise StorageError(f"{area!r} names no cube; cluster-0 or cluster-0-33UUU would")
    return match
