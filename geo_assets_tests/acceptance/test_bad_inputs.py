"""Every bad vector or raster input gives its own error: by name, with status 1, no traceback."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import yaml
from affine import Affine

from geo_assets_tests.acceptance.support import Workplace


def good_fields() -> geopandas.GeoDataFrame:
    boxes = [shapely.box(10 + n / 100, 50, 10.005 + n / 100, 50.005) for n in range(4)]
    columns = {
        "fold": ["a", "a", "b", "b"],
        "split": ["train", "test"] * 2,
        "crop": ["rye", "oat", "rye", "oat"],
    }
    return geopandas.GeoDataFrame(columns, geometry=boxes, crs="EPSG:4326")


def with_geometry(geometry, row=2):
    frame = good_fields()
    frame.loc[row, "geometry"] = geometry
    return frame


def sound_campaign() -> dict:
    """A sound campaign over the files that ``write`` puts beside it."""
    return {
        "name": "bad",
        "folds": ["a", "b"],
        "splits": ["train", "test"],
        "areas": {
            "file": "fields.gpkg",
            "fold_column": "fold",
            "split_column": "split",
            "class_column": "crop",
        },
        "imagery": {"kind": "raster", "file": "image.tif", "date": "2021-06-01"},
        "start": "2021-06-01",
        "end": "2021-06-30",
        "composite": {"bands": ["red", "nir"]},
    }


def write_image(path, *, crs="EPSG:32632", names=("red", "nir"), **profile):
    x, y = 571_000, 5_540_000
    data = np.full((len(names), 60, 400), 1000, np.uint16)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=400,
        height=60,
        count=len(names),
        dtype="uint16",
        crs=crs,
        transform=Affine(10, 0, x, 0, -10, y),
        **profile,
    ) as raster:
        raster.write(data)
        raster.descriptions = names


@dataclass(frozen=True)
class Bad:
    """One bad input and the words that its error must hold."""

    words: tuple[str, ...]
    frame: geopandas.GeoDataFrame | None = None
    change: dict = field(default_factory=dict)
    """Keys of the campaign that differ; a dotted key lies in a section."""
    spoil: object = None
    """Called with the folder when everything lies there."""


def no_crs(folder):
    frame = good_fields().set_crs(None, allow_override=True)
    frame.to_file(folder / "fields.gpkg", engine="pyogrio")


def two_layers_of_two_crs(folder):
    (folder / "fields.gpkg").unlink()
    good_fields().to_file(folder / "fields.gpkg", layer="one")
    good_fields().to_crs("EPSG:32632").to_file(folder / "fields.gpkg", layer="two")


def geojson(frame, **extra):
    def write(folder):
        content = json.loads(frame.to_json()) | extra
        (folder / "fields.geojson").write_text(json.dumps(content))

    return write


def swapped():
    frame = good_fields()
    # Longitude 150 and latitude 50, written the wrong way round: a latitude of 150.
    boxes = [shapely.box(50, 150 + n / 100, 50.005, 150.005 + n / 100) for n in range(4)]
    return frame.set_geometry(boxes, crs="EPSG:4326")


BOWTIE = shapely.Polygon([(10, 50), (10.02, 50.02), (10.02, 50), (10, 50.021)])
CAMPAIGN_KEYS = {"areas.file": "fields.geojson"}

VECTORS = {
    "split column missing": Bad(("'split'", "split_column"), good_fields().drop(columns="split")),
    "fold column missing": Bad(("'fold'", "fold_column"), good_fields().drop(columns="fold")),
    "class column missing": Bad(("'crop'", "class_column"), good_fields().drop(columns="crop")),
    "split empty in all folds": Bad(
        ("'validation'",), change={"splits": ["train", "test", "validation"]}
    ),
    "null split": Bad(
        ("'split'", "null", "1 of 4"), good_fields().assign(split=["train", None, "train", "test"])
    ),
    "undeclared split": Bad(
        ("undeclared", "'holdout'"),
        good_fields().assign(split=["train", "holdout", "train", "test"]),
    ),
    "undeclared fold": Bad(("undeclared", "'c'"), good_fields().assign(fold=["a", "a", "b", "c"])),
    "no features": Bad(("fields.gpkg", "no features"), good_fields()[:0]),
    "area changed by repair": Bad(("more than 1%", "row 2"), with_geometry(BOWTIE)),
    "empty geometry": Bad(("empty", "row 2"), with_geometry(shapely.Polygon())),
    "null geometry": Bad(("null or empty", "row 2"), with_geometry(None)),
    "points": Bad(("Point",), with_geometry(shapely.Point(10, 50))),
    "lines": Bad(("LineString",), with_geometry(shapely.LineString([(10, 50), (11, 51)]))),
    "no CRS": Bad(("CRS",), spoil=no_crs),
    "layers of two CRS": Bad(("layer",), spoil=two_layers_of_two_crs),
    "longitude and latitude swapped": Bad(
        ("latitude",), change=CAMPAIGN_KEYS, spoil=geojson(swapped())
    ),
    "antimeridian": Bad(
        ("antimeridian",),
        with_geometry(shapely.Polygon([(179.9, 50), (-179.9, 50), (-179.9, 50.1), (179.9, 50.1)])),
    ),
    "beyond UTM": Bad(("84",), with_geometry(shapely.box(10, 86, 10.1, 86.1))),
    "classes beyond the label band": Bad(
        ("254",),
        pd.concat([good_fields()] * 70, ignore_index=True).assign(
            crop=[f"crop {number}" for number in range(280)]
        ),
    ),
    "class that the campaign does not list": Bad(("'oat'",), change={"areas.classes": {"rye": 1}}),
    "not a vector file": Bad(
        ("fields.gpkg",), spoil=lambda folder: (folder / "fields.gpkg").write_bytes(b"not a file")
    ),
    "no such file": Bad(("fields.gpkg",), spoil=lambda folder: (folder / "fields.gpkg").unlink()),
}
CHOICES = {
    "overlap of 1": Bad(("chips.overlap", "less than 1"), change={"chips.overlap": 1.0}),
    "negative overlap": Bad(("chips.overlap",), change={"chips.overlap": -0.1}),
    "chip of no size": Bad(("chips.size",), change={"chips.size": 0}),
    "fold that climbs out": Bad(("folds", "../x"), change={"folds": ["a", "../x"]}),
    "fold with a look-alike": Bad(("folds",), change={"folds": ["a", "\u0430"]}),
    "fold with NUL": Bad(("folds",), change={"folds": ["a", "b\u0000"]}),
    "campaign that climbs out": Bad(("name",), change={"name": "../bad"}),
    "unknown key": Bad(("chips.sise", "size"), change={"chips.sise": 5}),
    "unknown reducer": Bad(("composite.reducer", "median"), change={"composite.reducer": "mode"}),
    "end before start": Bad(("end", "start"), change={"end": "2021-05-01"}),
    "one fold twice": Bad(("folds", "differ"), change={"folds": ["a", "a"]}),
}
RASTERS = {
    "no such raster": Bad(("image.tif",), spoil=lambda folder: (folder / "image.tif").unlink()),
    "not a raster": Bad(
        ("image.tif",), spoil=lambda folder: (folder / "image.tif").write_bytes(b"II*\0nothing")
    ),
    "raster without CRS": Bad(
        ("image.tif", "CRS"), spoil=lambda folder: write_image(folder / "image.tif", crs=None)
    ),
    "band that the raster lacks": Bad(
        ("'green'", "image.tif"), change={"composite.bands": ["red", "green"]}
    ),
    "names that do not fit the bands": Bad(
        ("band_names", "2 bands"), change={"imagery.band_names": ["red", "nir", "swir"]}
    ),
    "bands without names": Bad(
        ("band_names",), spoil=lambda folder: write_image(folder / "image.tif", names=("", ""))
    ),
    "no STAC catalog": Bad(
        ("catalog.json",), change={"imagery": {"kind": "stac", "catalog": "catalog.json"}}
    ),
}


def write(bad: Bad, folder):
    """Write the campaign with its files, spoilt as the case says; return its path."""
    folder.mkdir()
    frame = good_fields() if bad.frame is None else bad.frame
    frame.to_file(folder / "fields.gpkg", engine="pyogrio")
    write_image(folder / "image.tif")
    if bad.spoil is not None:
        bad.spoil(folder)
    content = sound_campaign()
    for key, value in bad.change.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    path = folder / "bad.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=False), encoding="utf-8")
    return path


def doctor(path, tmp_path):
    """Run ``geo-assets doctor`` in this process, which saves two seconds a case."""
    from click.testing import CliRunner

    from geo_assets.cli import main

    environment = {
        key: Workplace(tmp_path).environment(path)[key]
        for key in ("GEO_ASSETS_DATA", "GEO_ASSETS_CAMPAIGN", "COLUMNS")
    }
    return CliRunner().invoke(main, ["doctor"], env=environment)


def test_the_campaign_that_is_spoilt_below_is_sound(tmp_path):
    result = doctor(write(Bad(()), tmp_path / "here"), tmp_path)
    assert result.exit_code == 0, result.output
    assert "4 polygons" in result.output


@pytest.mark.parametrize("case", [*VECTORS, *CHOICES, *RASTERS])
def test_a_bad_input_is_named(case, tmp_path):
    bad = (VECTORS | CHOICES | RASTERS)[case]
    result = doctor(write(bad, tmp_path / "here"), tmp_path)
    text = " ".join(result.output.split())
    assert result.exit_code == 1, text
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in text
    for word in bad.words:
        assert word in text, text


def test_the_command_itself_names_it_and_ends_with_1(tmp_path):
    path = write(VECTORS["split column missing"], tmp_path / "here")
    process = Workplace(tmp_path).run("geo-assets", "doctor", campaign=path)
    assert process.returncode == 1
    assert "Traceback" not in process.stdout + process.stderr
    assert "'split'" in process.stdout + process.stderr


def test_a_run_with_a_bad_input_fails_with_its_error_and_publishes_nothing(tmp_path):
    path = write(VECTORS["null split"], tmp_path / "here")
    place = Workplace(tmp_path)
    process = place.materialize("bad/labels", "a|train", campaign=path)
    assert process.returncode == 1
    assert "AreaError" in process.stderr
    assert "'split' (split) is null in 1 of 4 polygons" in process.stderr
    assert not place.data.exists() or not list(place.data.rglob("*.parquet"))
