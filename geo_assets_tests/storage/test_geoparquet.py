"""Tables are GeoParquet 1.1 that geopandas, pyarrow and DuckDB read alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from geo_assets.errors import StorageError
from geo_assets.storage.geoparquet import read_metadata, read_table, write_table

if TYPE_CHECKING:
    from pathlib import Path


def polygons(count: int) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {
            "class": np.arange(1, count + 1, dtype=np.int64),
            "class_name": pd.array([f"class {i}" for i in range(count)], dtype="str"),
            "share": np.linspace(0, 1, count, dtype=np.float32),
            "remark": pd.Series([None] * count, dtype=object),
            "geometry": [shapely.box(i, 10 + i, i + 1, 11 + i) for i in range(count)],
        },
        crs="EPSG:4326",
    )


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_table_comes_back_with_its_types(tmp_path: Path, count: int) -> None:
    frame = polygons(count)
    write_table(frame, tmp_path / "a.parquet")
    back = read_table(tmp_path / "a.parquet")
    assert back.crs.to_epsg() == 4326
    columns = ["class", "class_name", "share"]
    assert_frame_equal(pd.DataFrame(back[columns]), pd.DataFrame(frame[columns]), check_dtype=True)
    assert back.geometry.geom_equals(frame.geometry).all()
    assert back["remark"].isna().all()


def test_empty_and_filled_tables_have_one_schema(tmp_path: Path) -> None:
    write_table(polygons(0), tmp_path / "empty.parquet")
    write_table(polygons(3), tmp_path / "filled.parquet")
    empty, filled = (pq.read_schema(tmp_path / f"{name}.parquet") for name in ("empty", "filled"))
    assert empty.equals(filled, check_metadata=False)
    assert empty.field("remark").type == pa.string()
    assert empty.field("class_name").type == pa.string()
    query = "select count(*), max(class_name) from read_parquet(?)"
    rows = duckdb.sql(query, params=[f"{tmp_path}/*.parquet"]).fetchall()
    assert rows == [(3, "class 2")]


@pytest.mark.parametrize("count", [0, 3])
def test_the_file_is_geoparquet_1_1_with_covering_and_zstd(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.parquet"
    write_table(polygons(count), path)
    geo = json.loads(pq.read_schema(path).metadata[b"geo"], parse_constant=pytest.fail)
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    footer = pq.read_metadata(path)
    for group in range(footer.num_row_groups):
        for column in range(footer.num_columns):
            if footer.row_group(group).num_rows:
                assert footer.row_group(group).column(column).compression == "ZSTD"


def test_duckdb_reads_rows_boxes_and_geometries(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(polygons(3), path)
    query = """
        select class, class_name, bbox.xmin, bbox.ymax from read_parquet(?)
        where class > 1 order by class
    """
    rows = duckdb.sql(query, params=[str(path)]).fetchall()
    assert rows == [(2, "class 1", 1.0, 12.0), (3, "class 2", 2.0, 13.0)]


def test_a_box_selects_rows_through_the_covering(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(polygons(5), path)
    assert gpd.read_parquet(path, bbox=(0.2, 10.2, 0.4, 10.4))["class"].tolist() == [1]


metadata = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text(max_size=8)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=30, deadline=None)
@given(given_metadata=metadata)
def test_metadata_comes_back_as_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, given_metadata: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    write_table(polygons(1), path, metadata=given_metadata)
    assert read_metadata(path) == given_metadata


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    write_table(polygons(4), tmp_path / "a.parquet", metadata={"b": 1, "a": 2})
    write_table(polygons(4), tmp_path / "b.parquet", metadata={"a": 2, "b": 1})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_table_without_our_metadata_has_none(tmp_path: Path) -> None:
    polygons(1).to_parquet(tmp_path / "a.parquet")
    assert read_metadata(tmp_path / "a.parquet") == {}


def test_an_absent_table_says_what_to_materialize(tmp_path: Path) -> None:
    for read in (read_table, read_metadata):
        with pytest.raises(StorageError, match=r"train\.parquet: .*materialize demo/labels first"):
            read(tmp_path / "train.parquet", asset="demo/labels")
        with pytest.raises(StorageError, match="does not exist"):
            read(tmp_path / "train.parquet")


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(polygons(3), path)
    path.write_bytes(path.read_bytes()[:-20])
    for read in (read_table, read_metadata):
        with pytest.raises(StorageError, match=r"a\.parquet: is no readable GeoParquet"):
            read(path)


def test_a_table_without_crs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no CRS"):
        write_table(polygons(1).set_crs(None, allow_override=True), tmp_path / "a.parquet")
    with pytest.raises(StorageError, match="JSON"):
        write_table(polygons(1), tmp_path / "a.parquet", metadata={"x": float("nan")})
    assert list(tmp_path.iterdir()) == []
