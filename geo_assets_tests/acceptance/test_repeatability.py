"""The same campaign twice from scratch gives the same bytes, and none of them names a place."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geo_assets_tests.acceptance.support import files_below

TABLES = {".parquet"}


@pytest.fixture(scope="module")
def twice(fields, make, archive):
    """The small campaign in two folders; the second archive and its results are new, too."""
    return fields, make("fields", archive, chip_size=128, overlap=0)


def published(made):
    """What a campaign published, by path below its folder; not the state of its runs."""
    folder = made.place.layout(made.campaign).folder
    return {
        path.relative_to(folder): path
        for path in files_below(folder)
        if path.relative_to(folder).parts[0] != ".state"
    }


def test_two_runs_publish_the_same_files(twice):
    first, second = map(published, twice)
    assert first
    assert set(first) == set(second)
    kinds = {path.parts[0] for path in first}
    assert {"chips", "composite_image", "ndvi_cube", "ndvi_spatial_labels"} < kinds
    assert {"ndvi_temporal_labels", "ndvi_label_changes", "land_cover_labels"} < kinds


def test_chips_rasters_and_cubes_are_equal_byte_for_byte(twice):
    first, second = map(published, twice)
    compared = [path for path in first if path.suffix not in TABLES]
    assert len(compared) > 100
    different = [
        str(path) for path in compared if first[path].read_bytes() != second[path].read_bytes()
    ]
    assert different == []


def test_tables_are_equal_without_the_time_of_their_rows(twice):
    first, second = map(published, twice)
    compared = [path for path in first if path.suffix in TABLES]
    assert {path.parts[0] for path in compared} == {
        "labels",
        "aoi_clusters",
        "scenes",
        "chip_grid",
        "chip_catalog",
    }
    for path in compared:
        one, other = (portable(pq.read_table(where[path])) for where in (first, second))
        assert one.schema.equals(other.schema, check_metadata=True), path
        assert one.equals(other), path


def portable(table: pa.Table) -> pa.Table:
    return table.drop_columns(["updated"]) if "updated" in table.column_names else table


def test_no_published_file_names_a_folder_of_this_machine(twice, tmp_path_factory):
    base = str(tmp_path_factory.getbasetemp())
    for made in twice:
        naming = [
            str(path) for path, file in published(made).items() if base in everything_in(file)
        ]
        assert naming == []


def everything_in(file) -> str:
    """A file's bytes as text, and every value of a table, which lies compressed in its file."""
    text = file.read_bytes().decode("latin-1")
    if file.suffix == ".parquet":
        table = pq.read_table(file, partitioning=None)
        text += str(table.schema.metadata) + str([column.to_pylist() for column in table.columns])
    return text
