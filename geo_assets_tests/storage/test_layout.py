"""Paths are those of the design, and none leaves the root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.errors import StorageError
from geo_assets.storage.layout import Layout, cluster_of, k_report_of, model_of

DATA = Path("/data")
LAYOUT = Layout(DATA, "demo")


def test_every_asset_lies_where_the_design_says() -> None:
    paths = [
        LAYOUT.labels("north", "train"),
        LAYOUT.aoi_clusters("north", "train"),
        LAYOUT.scenes("north", "train"),
        LAYOUT.composite_image("north", "train", 0),
        LAYOUT.composite_sidecar("north", "train", 0),
        LAYOUT.chip_grid("north", "train"),
        LAYOUT.chip_catalog("north", "train"),
        LAYOUT.chips_folder("north", "train"),
        LAYOUT.ndvi_cube("north", "train", 1),
        LAYOUT.ndvi_spatial_labels("north", "train", 1, "2024-06-01"),
        LAYOUT.ndvi_spatial_labels("north", "train", "cluster-0-33UUU", "2024-06-01"),
        LAYOUT.ndvi_spatial_model("north", "train", 1),
        LAYOUT.ndvi_temporal_labels("north", "train", 1),
        LAYOUT.ndvi_label_changes("north", "train", 1),
        LAYOUT.land_cover_labels("north", "train", 1),
        model_of(LAYOUT.land_cover_labels("north", "train", 1)),
        k_report_of(LAYOUT.land_cover_labels("north", "train", 1)),
        LAYOUT.journal_folder("north", "train"),
        LAYOUT.lock("chip_catalog", "north", "train"),
    ]
    assert [str(path.relative_to(DATA / "demo")) for path in paths] == [
        "labels/north/train.parquet",
        "aoi_clusters/north/train.parquet",
        "scenes/north/train.parquet",
        "composite_image/north/train/cluster-0.tif",
        "composite_image/north/train/cluster-0.json",
        "chip_grid/north/train.parquet",
        "chip_catalog/north/train.parquet",
        "chips/north/train",
        "ndvi_cube/north/train/cluster-1.zarr",
        "ndvi_spatial_labels/north/train/cluster-1/2024-06-01.tif",
        "ndvi_spatial_labels/north/train/cluster-0-33UUU/2024-06-01.tif",
        "ndvi_spatial_labels/north/train/cluster-1.json",
        "ndvi_temporal_labels/north/train/cluster-1.tif",
        "ndvi_label_changes/north/train/cluster-1.tif",
        "land_cover_labels/north/train/cluster-1.tif",
        "land_cover_labels/north/train/cluster-1.json",
        "land_cover_labels/north/train/cluster-1.k-report.json",
        ".state/journal/north/train",
        ".state/locks/chip_catalog/north/train.lock",
    ]


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/b", "a\0", "a\n", "-a", ".a", "nörd", "n\u043erth", "a" * 65, "a b"],
)
def test_a_bad_name_is_refused_and_not_cleaned(name: str) -> None:
    for make in (
        lambda: LAYOUT.labels(name, "train"),
        lambda: LAYOUT.labels("north", name),
        lambda: LAYOUT.lock(name, "north", "train"),
        lambda: Layout(DATA, name),
    ):
        with pytest.raises(StorageError, match="cannot name a folder"):
            make()


@given(st.text(max_size=70), st.text(max_size=70))
def test_whatever_the_names_a_path_stays_below_the_root(fold: str, split: str) -> None:
    try:
        path = LAYOUT.chips_folder(fold, split)
    except StorageError:
        return
    assert path.resolve().is_relative_to(DATA / "demo")
    assert path.parts[-2:] == (fold, split)


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "demo").mkdir(parents=True)
    (tmp_path / "data" / "demo" / "labels").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="lies outside"):
        Layout(tmp_path / "data", "demo").labels("north", "train")


@pytest.mark.parametrize("date", ["2024-6-1", "20240601", "../2024-06-01", "\uff12024-06-01"])
def test_a_bad_date_is_refused(date: str) -> None:
    with pytest.raises(StorageError, match="YYYY-MM-DD"):
        LAYOUT.ndvi_spatial_labels("north", "train", 0, date)


def test_a_negative_cluster_is_refused() -> None:
    with pytest.raises(StorageError, match="counts from 0"):
        LAYOUT.ndvi_cube("north", "train", -1)


def test_importing_the_layout_loads_no_heavy_library() -> None:
    code = (
        "import sys, geo_assets.storage.layout, geo_assets.storage.atomic; "
        "print({'numpy', 'pandas', 'pyarrow', 'rasterio', 'xarray', 'zarr'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["", "..", "cluster-", "cluster-0/x", "0", "cluster-0-", "c-0-A"])
def test_a_name_of_no_cube_names_no_label_raster(name: str) -> None:
    with pytest.raises(StorageError, match="names no cube; cluster-0 or cluster-0-33UUU would"):
        LAYOUT.ndvi_temporal_labels("north", "train", name)


@pytest.mark.parametrize(("name", "cluster"), [("cluster-0", 0), ("cluster-12-33UUU", 12)])
def test_the_name_of_a_cube_tells_its_cluster(name: str, cluster: int) -> None:
    assert cluster_of(name) == cluster
