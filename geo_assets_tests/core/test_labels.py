"""Labels: fold, split and class of every polygon, and a named error for everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import shapely

from geo_assets.core.labels import LabelRules, validate_label_files, validate_labels
from geo_assets.errors import AreaError, CampaignError
from geo_assets.storage.vectors import read_vector

RULES = LabelRules(
    folds=["0", "1"],
    splits=["train", "test"],
    fold_column="fold",
    split_column="split",
    class_column="crop",
)


def _frame(**columns):
    values = {
        "fold": [0, 0, 1, 1],
        "split": ["train", "test", "train", "test"],
        "crop": ["wheat", "barley", "wheat", "maize"],
        "id": [1, 2, 3, 4],
        **columns,
    }
    boxes = [shapely.box(10 + i, 50, 10.1 + i, 50.1) for i in range(4)]
    return geopandas.GeoDataFrame(values, geometry=boxes, crs="EPSG:4326")


def _with_geometry(geometry):
    frame = _frame()
    frame.loc[2, "geometry"] = geometry
    return frame


def _check(frame, rules=RULES):
    return validate_labels(frame, rules, source_name="fields.geojson")


def test_every_polygon_gets_fold_split_and_class_in_file_order():
    labels = _check(_frame())
    assert list(labels.frame.columns) == ["geometry", "class", "class_name", "fold", "split"]
    assert labels.frame["fold"].tolist() == ["0", "0", "1", "1"]
    assert labels.frame["split"].tolist() == ["train", "test", "train", "test"]
    assert labels.frame["class_name"].tolist() == ["wheat", "barley", "wheat", "maize"]
    assert labels.frame["class"].tolist() == [3, 1, 3, 2]
    assert labels.frame["class"].dtype == np.uint8
    assert labels.classes == {"barley": 1, "maize": 2, "wheat": 3}
    assert labels.frame.crs == "EPSG:4326"
    assert labels.warnings == []


def test_given_class_values_are_kept():
    classes = {"wheat": 7, "barley": 2, "maize": 254, "rye": 9}
    labels = _check(_frame(), replace(RULES, classes=classes))
    assert labels.frame["class"].tolist() == [7, 2, 7, 254]
    assert labels.classes == classes


def test_numbers_as_class_names_are_ordered_as_numbers():
    labels = _check(_frame(crop=[10.0, 9.0, 9.0, 100.0]))
    assert labels.classes == {"9": 1, "10": 2, "100": 3}


def test_classes_of_one_number_have_the_same_values_in_every_run():
    """Python's order of a set of strings is another in each process."""
    program = (
        "import pandas as pd; from geo_assets.core.labels import LabelRules, _numbered; "
        "rules = LabelRules(folds=['all'], class_column='crop'); "
        "names = pd.Series(['1', '02', '01', '2', '001']); "
        "print(list(_numbered(names, rules, 'fields.gpkg').items()))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(  # our own program
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        expected = [("001", 1), ("01", 2), ("1", 3), ("02", 4), ("2", 5)]
        assert done.stdout.strip() == str(expected)


def test_without_columns_there_is_one_class_and_the_split_all():
    rules = LabelRules(folds=["north"], class_name="cashew")
    labels = _check(_frame(), rules)
    assert set(labels.frame["class"]) == {1}
    assert set(labels.frame["class_name"]) == {"cashew"}
    assert set(labels.frame["split"]) == {"all"}
    assert set(labels.frame["fold"]) == {"north"}


def test_a_projected_file_comes_out_in_degrees():
    labels = _check(_frame().to_crs("EPSG:32632"))
    assert labels.frame.crs == "EPSG:4326"
    assert np.allclose(labels.frame.total_bounds, _frame().total_bounds, atol=1e-9)


def test_integers_beside_nulls_are_still_integers():
    with pytest.raises(AreaError, match=r"'fold' \(fold\) is null in 1 of 4 polygons: row 1"):
        _check(_frame(fold=[0, None, 1, 1]))


def test_one_file_per_fold_shares_one_numbering():
    rules = replace(RULES, fold_column=None)
    north = _frame()[:2]
    south = _frame(crop=["apple"] * 4)[2:]
    labels = validate_label_files({"0": (north, "0.geojson"), "1": (south, "1.geojson")}, rules)
    assert labels.frame["fold"].tolist() == ["0", "0", "1", "1"]
    assert labels.classes == {"apple": 1, "barley": 2, "wheat": 3}


def test_a_split_that_only_one_fold_has_is_fine():
    labels = _check(_frame(split=["train", "test", "train", "train"]))
    assert len(labels.frame) == 4


def test_a_split_no_fold_has_is_an_error_even_over_several_files():
    rules = replace(RULES, fold_column=None)
    train = _frame(split=["train"] * 4)
    with pytest.raises(AreaError, match=r"no polygon in any fold has split \['test'\]"):
        validate_label_files({"0": (train, "0.geojson"), "1": (train, "1.geojson")}, rules)
    one_file_of_several = replace(rules, fold="0")
    assert len(_check(train, one_file_of_several).frame) == 4


def test_a_fold_without_polygons_is_a_warning():
    labels = _check(_frame(fold=[0] * 4))
    assert labels.warnings == ["fields.geojson: fold '1' has no polygons"]


def test_an_invalid_polygon_is_repaired_with_a_warning():
    spike = shapely.Polygon(
        [(12, 50), (12.1, 50), (12.1, 50.1), (12.2, 50.1), (12.1, 50.1), (12, 50.1)]
    )
    assert not spike.is_valid
    labels = _check(_with_geometry(spike))
    assert labels.warnings == ["fields.geojson: 1 invalid polygons were repaired: row 2"]
    assert labels.frame.is_valid.all()
    assert set(labels.frame.geom_type) <= {"Polygon", "MultiPolygon"}
    assert shapely.area(labels.frame.geometry[2]) == pytest.approx(0.01)


BOW_TIE = shapely.Polygon([(12, 50), (12.1, 50.1), (12.1, 50), (12, 50.1)])
LINE_AS_POLYGON = shapely.Polygon([(12, 50), (12.1, 50.1), (12, 50), (12, 50)])

BAD_DATA = {
    "split column missing": (
        lambda: _frame().drop(columns="split"),
        r"split_column 'split' is not one of its columns \['fold', 'crop', 'id'\]",
    ),
    "fold column missing": (lambda: _frame().drop(columns="fold"), "fold_column 'fold' is not one"),
    "class column missing": (lambda: _frame().drop(columns="crop"), "class_column 'crop' is not"),
    "null splits": (
        lambda: _frame(split=["train", None, None, "test"]),
        r"'split' \(split\) is null in 2 of 4 polygons: rows 1, 2",
    ),
    "undeclared split": (
        lambda: _frame(split=["train", "test", "dev", "dev"]),
        r"undeclared splits \['dev'\] \(2 polygons\); declared are \['train', 'test'\]",
    ),
    "undeclared fold": (
        lambda: _frame(fold=[0, 0, 1, 2]),
        r"undeclared folds \['2'\] .* compared as strings \('0' is not 'fold0'\)",
    ),
    "split empty in all folds": (
        lambda: _frame(split=["train"] * 4),
        r"no polygon in any fold has split \['test'\]; declared are .*, found \['train'\]",
    ),
    "null class": (
        lambda: _frame(crop=["a", "b", None, "c"]),
        r"'crop' \(class\) is null in 1 of 4 polygons: row 2",
    ),
    "no features": (lambda: _frame()[:0], "has no features"),
    "no CRS": (lambda: _frame().set_crs(None, allow_override=True), "states no CRS"),
    "null geometry": (lambda: _with_geometry(None), "1 geometries are null or empty: row 2"),
    "empty geometry": (lambda: _with_geometry(shapely.Polygon()), "null or empty: row 2"),
    "point": (
        lambda: _with_geometry(shapely.Point(12, 50)),
        r"type \['Point'\] in row 2; allowed are Polygon and MultiPolygon",
    ),
    "line": (lambda: _with_geometry(shapely.LineString([(12, 50), (13, 50)])), "'LineString'"),
    "bow tie": (lambda: _with_geometry(BOW_TIE), "more than 1%: row 2 .*Self-intersection"),
    "no area": (lambda: _with_geometry(LINE_AS_POLYGON), "more than 1%: row 2"),
    "longitude out of range": (
        lambda: _with_geometry(shapely.box(200, 50, 201, 51)),
        "out of range in row 2, .*is the stated CRS the right one",
    ),
    "metres in degrees": (
        lambda: _with_geometry(shapely.box(5e5, 5e6, 5.1e5, 5.1e6)),
        "out of range in row 2",
    ),
    "swapped": (
        lambda: _frame().set_geometry([shapely.box(50, 100 + i, 51, 101 + i) for i in range(4)]),
        "look swapped",
    ),
    "beyond the antimeridian": (
        lambda: _with_geometry(shapely.box(179.5, 50, 180.5, 51)),
        "must be split there",
    ),
    "round the world": (
        lambda: _with_geometry(shapely.box(-179.9, 50, 179.9, 51)),
        "row 2 cross the antimeridian or span more than 180 degrees",
    ),
    "pole": (lambda: _with_geometry(shapely.box(12, 84.5, 13, 85)), "beyond the latitudes of UTM"),
    "antarctica": (lambda: _with_geometry(shapely.box(12, -81, 13, -80.5)), "-80 to 84 degrees"),
    "wrong projection": (
        lambda: (
            _frame()
            .set_geometry([shapely.box(1e9, 1e9, 2e9, 2e9)] * 4)
            .set_crs("EPSG:32632", allow_override=True)
        ),
        "not finite|out of range",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_is_named_with_its_file(make, message):
    with pytest.raises(AreaError, match=message) as error:
        _check(make())
    assert str(error.value).startswith("fields.geojson: ")


def test_unknown_classes_are_named_with_the_allowed_ones():
    rules = replace(RULES, classes={"wheat": 1, "barley": 2})
    with pytest.raises(AreaError, match=r"\['maize'\] \(1 polygons\); allowed are \['barley', 'w"):
        _check(_frame(), rules)


def test_duplicate_ids_are_named():
    rules = replace(RULES, id_column="id")
    assert len(_check(_frame(), rules).frame) == 4
    with pytest.raises(AreaError, match=r"ids occur more than once: \['2'\] in rows 1, 3"):
        _check(_frame(id=[1, 2, 3, 2]), rules)


def test_too_many_polygons_are_refused():
    with pytest.raises(AreaError, match="4 polygons; max_features allows 3"):
        _check(_frame(), replace(RULES, max_features=3))


@pytest.mark.parametrize(("count", "fits"), [(254, True), (255, False)])
def test_a_label_band_holds_254_classes(count, fits):
    boxes = [shapely.box(10, 50, 11, 51)] * count
    frame = geopandas.GeoDataFrame(
        {"crop": [f"crop {i:03d}" for i in range(count)]}, geometry=boxes, crs="EPSG:4326"
    )
    rules = LabelRules(folds=["a"], class_column="crop")
    if fits:
        assert _check(frame, rules).frame["class"].max() == 254
    else:
        with pytest.raises(AreaError, match="255 classes; a label band holds at most 254"):
            _check(frame, rules)


BAD_RULES = {
    "path in a name": ({"folds": ["../x"]}, r"\['../x'\]; allowed are names that match"),
    "null byte": ({"folds": ["a\0"]}, "allowed are names that match"),
    "look-alike letter": ({"folds": ["n\u043erth"]}, "allowed are names that match"),
    "trailing newline": ({"folds": ["north\n"]}, "allowed are names that match"),
    "name too long": ({"folds": ["a" * 65]}, "allowed are names that match"),
    "bad split": (
        {"folds": ["a"], "splits": [".hidden"], "split_column": "s"},
        "allowed are names that match",
    ),
    "no folds": ({"folds": []}, "at least one is needed"),
    "twice": ({"folds": ["a", "a"]}, "each may be named once"),
    "one joined name": (
        {"folds": ["a", "a-b"], "splits": ["b-c", "c"], "split_column": "s", "fold_column": "f"},
        r"same joined name twice: \['a-b-c'\]",
    ),
    "fold and column": ({"folds": ["a"], "fold": "a", "fold_column": "f"}, "exclude each other"),
    "unknown fold": ({"folds": ["a"], "fold": "b"}, r"fold 'b' is not one of \['a'\]"),
    "splits without column": ({"folds": ["a"], "splits": ["train"]}, "need a split_column"),
    "classes without column": ({"folds": ["a"], "classes": {"x": 1}}, "need a class_column"),
    "class 0": ({"folds": ["a"], "class_column": "c", "classes": {"x": 0}}, "from 1 to 254"),
    "class 255": ({"folds": ["a"], "class_column": "c", "classes": {"x": 255}}, "'x': 255"),
    "no classes": ({"folds": ["a"], "class_column": "c", "classes": {}}, "from 1 to 254"),
}


@pytest.mark.parametrize(("rules", "message"), BAD_RULES.values(), ids=BAD_RULES)
def test_bad_rules_are_named(rules, message):
    with pytest.raises(CampaignError, match=message):
        LabelRules(**rules)


def test_several_folds_need_a_column_or_a_file_each():
    with pytest.raises(CampaignError, match="name a fold_column or give one file per fold"):
        _check(_frame(), LabelRules(folds=["a", "b"]))


@pytest.mark.real_data
def test_the_aberystwyth_labels_fill_5_of_15_partitions(real_data):
    path = real_data / "labels/aberystwyth_landcover_polygons.geojson"
    rules = LabelRules(
        folds=list("01234"),
        splits=["train", "validation", "test"],
        fold_column="fold",
        split_column="split",
        class_column="label",
        id_column="id",
    )
    raw = read_vector(path)
    labels = validate_labels(raw, rules, source_name=path.name)
    assert labels.warnings == []
    assert labels.frame.groupby(["fold", "split"]).size().to_dict() == {
        ("0", "train"): 10,
        ("1", "train"): 9,
        ("2", "validation"): 8,
        ("3", "train"): 7,
        ("4", "test"): 6,
    }
    assert labels.frame["class"].tolist() == raw["class_id"].tolist()


@pytest.mark.real_data
def test_the_sacramento_classes_count_as_in_the_file(real_data):
    path = real_data / "labels/sacramento_delta_crops_2015.geojson"
    rules = replace(RULES, folds=list("01234"), splits=["train", "validation", "test"])
    raw = read_vector(path)
    labels = validate_labels(raw, replace(rules, class_column="label"), source_name=path.name)
    assert (
        labels.frame["class_name"].value_counts().to_dict() == raw["label"].value_counts().to_dict()
    )
