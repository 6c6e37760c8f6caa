"""Reading vector files: formats agree, and every bad file gives its named error."""

from __future__ import annotations

import json

import geopandas
import pyogrio
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from geo_assets.errors import AreaError
from geo_assets.storage import vectors
from geo_assets.storage.vectors import read_vector


@pytest.fixture
def fields():
    return geopandas.GeoDataFrame(
        {"split": ["train", "test"], "fold": [0, 1]},
        geometry=[shapely.box(10, 50, 10.1, 50.1), shapely.box(11, 51, 11.1, 51.1)],
        crs="EPSG:4326",
    )


@pytest.mark.parametrize("name", ["fields.geojson", "fields.gpkg", "fields.shp", "fields.fgb"])
def test_a_file_of_any_gdal_format_reads_back(fields, tmp_path, name):
    fields.to_file(tmp_path / name)
    read = read_vector(tmp_path / name).sort_values("fold", ignore_index=True)
    assert_geodataframe_equal(read[fields.columns], fields, check_dtype=False, normalize=True)


def test_geoparquet_reads_back(fields, tmp_path):
    fields.to_crs("EPSG:32632").to_parquet(tmp_path / "fields.parquet")
    assert_geodataframe_equal(read_vector(tmp_path / "fields.parquet"), fields.to_crs("EPSG:32632"))


def test_a_geojson_without_crs_is_wgs84(tmp_path):
    path = tmp_path / "plain.geojson"
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": shapely.geometry.mapping(shapely.box(10, 50, 11, 51)),
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert read_vector(path).crs == "EPSG:4326"


def test_heights_are_dropped(fields, tmp_path):
    fields.set_geometry(shapely.force_3d(fields.geometry.array, 7)).to_file(tmp_path / "z.gpkg")
    read = read_vector(tmp_path / "z.gpkg")
    assert not read.has_z.any()
    assert read.geometry.geom_equals(fields.geometry).all()


def test_a_named_layer_is_read(fields, tmp_path):
    path = tmp_path / "two.gpkg"
    fields.to_file(path, layer="a")
    fields.iloc[:1].to_file(path, layer="b")
    assert len(read_vector(path, layer="b")) == 1


def _missing(path, _fields):
    return path / "absent.geojson"


def _garbage(path, _fields):
    (path / "garbage.geojson").write_bytes(b"\x00not json")
    return path / "garbage.geojson"


def _truncated_parquet(path, fields):
    fields.to_parquet(path / "cut.parquet")
    (path / "cut.parquet").write_bytes((path / "cut.parquet").read_bytes()[:200])
    return path / "cut.parquet"


def _plain_parquet(path, fields):
    fields.drop(columns="geometry").to_parquet(path / "plain.parquet")
    return path / "plain.parquet"


def _empty(path, _fields):
    (path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    return path / "empty.geojson"


def _empty_gpkg(path, fields):
    fields.iloc[:0].to_file(path / "empty.gpkg", geometry_type="Polygon")
    return path / "empty.gpkg"


def _shapefile_without_prj(path, fields):
    fields.to_file(path / "fields.shp")
    (path / "fields.prj").unlink()
    return path / "fields.shp"


def _table_without_geometry(path, fields):
    fields.drop(columns="geometry").to_csv(path / "table.csv")
    return path / "table.csv"


def _two_layers(path, fields):
    fields.to_file(path / "two.gpkg", layer="a")
    fields.to_file(path / "two.gpkg", layer="b")
    return path / "two.gpkg"


def _two_crs(path, fields):
    fields.to_file(path / "two.gpkg", layer="a")
    fields.to_crs("EPSG:32632").to_file(path / "two.gpkg", layer="b")
    return path / "two.gpkg"


def _null_crs(path, fields):
    pyogrio.write_dataframe(fields.set_crs(None, allow_override=True), path / "null.gpkg")
    return path / "null.gpkg"


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "no such file"),
        (_garbage, "cannot be read as a vector file"),
        (_truncated_parquet, "cannot be read as a vector file"),
        (_plain_parquet, "cannot be read as a vector file"),
        (_empty, "has no features"),
        (_empty_gpkg, "has no features"),
        (_shapefile_without_prj, "states no CRS"),
        (_null_crs, "states no CRS"),
        (_table_without_geometry, "no layer with geometries"),
        (_two_layers, r"name the one to read with 'layer': \['a', 'b'\]$"),
        (_two_crs, "several CRSs .*EPSG:4326.*EPSG:32632"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path, fields, make, message):
    path = make(tmp_path, fields)
    with pytest.raises(AreaError, match=message) as error:
        read_vector(path)
    assert str(path) in str(error.value)


def test_an_unknown_layer_is_named_with_those_there_are(fields, tmp_path):
    fields.to_file(tmp_path / "one.gpkg", layer="a")
    with pytest.raises(AreaError, match=r"no layer 'b' .*\['a'\]"):
        read_vector(tmp_path / "one.gpkg", layer="b")
    fields.to_parquet(tmp_path / "one.parquet")
    with pytest.raises(AreaError, match="GeoParquet has no layers"):
        read_vector(tmp_path / "one.parquet", layer="b")


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_FEATURES", "MAX_VERTICES"])
@pytest.mark.parametrize("name", ["fields.gpkg", "fields.parquet"])
def test_a_file_beyond_a_cap_is_refused(fields, tmp_path, monkeypatch, limit, name):
    path = tmp_path / name
    fields.to_parquet(path) if name.endswith("parquet") else fields.to_file(path)
    monkeypatch.setattr(vectors, limit, 1)
    with pytest.raises(AreaError, match="at most 1 are read"):
        read_vector(path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("aberystwyth_landcover_polygons", 40),
        ("slovenia_lulc_polygons", 88),
        ("sacramento_delta_crops_2015", 561),
        ("tanzania_crop_fields_2018", 392),
        ("doeberitzer_multipolygon", 2),
    ],
)
def test_real_label_files_read(real_data, name, features):
    frame = read_vector(real_data / "labels" / f"{name}.geojson")
    assert len(frame) == features
    assert frame.crs == "EPSG:4326"
