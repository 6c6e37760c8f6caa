from __future__ import annotations

from types import SimpleNamespace

import geopandas
import pytest
import shapely

from geo_assets.campaign import Areas
from geo_assets.campaign_imagery import SimulatedImagery
from geo_assets.errors import AreaError
from geo_assets.sources import label_files
from geo_assets.sources.label_files import read_labels
from geo_assets.storage.layout import Layout


def fields(**columns):
    count = len(next(iter(columns.values())))
    boxes = [shapely.box(14 + i / 10, 47, 14.05 + i / 10, 47.05) for i in range(count)]
    return geopandas.GeoDataFrame(columns, geometry=boxes, crs="EPSG:4326")


def campaign(areas, splits=("train", "test")):
    imagery = SimulatedImagery(kind="simulated", seed=5)
    return SimpleNamespace(
        name="c", folds=("north", "south"), splits=splits, areas=areas, imagery=imagery
    )


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "data", "c")


def test_one_file_for_all_folds(tmp_path, layout):
    path = tmp_path / "fields.gpkg"
    fields(
        region=["north", "south", "north"],
        part=["train", "train", "test"],
        crop=["wheat", "maize", "maize"],
    ).to_file(path, layer="fields")
    areas = Areas(
        file=path, layer="fields", fold_column="region", split_column="part", class_column="crop"
    )
    made = read_labels(campaign(areas), layout)
    assert made.frame["fold"].tolist() == ["north", "south", "north"]
    assert made.frame["split"].tolist() == ["train", "train", "test"]
    assert made.classes == {"maize": 1, "wheat": 2}


def test_one_file_for_each_fold_and_one_table_of_classes(tmp_path, layout):
    files = {fold: tmp_path / f"{fold}.geojson" for fold in ("north", "south")}
    fields(part=["train"], crop=["wheat"]).to_file(files["north"])
    fields(part=["train"], crop=["maize"]).to_file(files["south"])
    areas = Areas(files=files, split_column="part", class_column="crop")
    made = read_labels(campaign(areas, splits=("train",)), layout)
    assert dict(zip(made.frame["fold"], made.frame["class"], strict=True)) == {
        "north": 2,
        "south": 1,
    }


def test_a_file_of_the_archive_is_found_there(tmp_path, layout, monkeypatch):
    archive = tmp_path / "archive"
    (archive / "labels").mkdir(parents=True)
    for fold in ("north", "south"):
        fields(part=["train"]).to_file(archive / f"labels/{fold}.geojson")
    monkeypatch.setattr(label_files, "prepare_archive", lambda *_: archive)
    areas = Areas(
        files={fold: f"archive:labels/{fold}.geojson" for fold in ("north", "south")},
        split_column="part",
    )
    made = read_labels(campaign(areas, splits=("train",)), layout)
    assert made.frame["fold"].tolist() == ["north", "south"]


def test_a_wrong_column_is_named_with_its_file(tmp_path, layout):
    path = tmp_path / "fields.geojson"
    fields(region=["north", "south"]).to_file(path)
    areas = Areas(file=path, fold_column="region", split_column="part")
    with pytest.raises(AreaError, match=r"fields\.geojson.*'part'"):
        read_labels(campaign(areas), layout)


def test_ids_that_occur_twice_are_refused(tmp_path, layout):
    path = tmp_path / "fields.geojson"
    fields(region=["north", "south"], part=["train", "test"], id=[7, 7]).to_file(path)
    areas = Areas(file=path, fold_column="region", split_column="part", id_column="id")
    with pytest.raises(AreaError, match=r"fields\.geojson.*7"):
        read_labels(campaign(areas), layout)
