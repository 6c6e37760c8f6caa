from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from geo_assets.errors import StorageError
from geo_assets.products.composites.expression_sidecar import ExpressionSidecar
from geo_assets.sources.earth_engine.label_table import LabelTable
from geo_assets.sources.protocol import ServerComposite
from geo_assets_tests.sources.memory_source import MemorySource, grid, random_scene

AREA = grid(40, 30, row=5, col=6)
ITEMS = MemorySource.of(
    random_scene(1, "A", "2021-05-01", AREA), random_scene(2, "B", "2021-06-01", AREA)
).items
COMPOSITE = ServerComposite(
    expression='{"result":"0","values":{"0":{"constantValue":1}}}',
    preview_expression='{"result":"0","values":{"0":{"constantValue":2}}}',
    bands=("B", "G"),
    dtype="uint8",
    label_band=False,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cluster-0.json"


def test_what_was_published_is_read_back(path):
    made = ExpressionSidecar.of(COMPOSITE, AREA, ITEMS)
    made.publish(path)
    assert ExpressionSidecar.read(path) == made
    assert made.geobox == AREA
    assert made.scene_ids == ("A", "B")
    assert made.days == ("2021-05-01", "2021-06-01")


def test_the_file_holds_the_expression_and_its_checksum(path):
    ExpressionSidecar.of(COMPOSITE, AREA, ITEMS).publish(path)
    content = json.loads(path.read_text())
    assert content["expression"] == json.loads(COMPOSITE.expression)
    assert content["sha256"] == hashlib.sha256(COMPOSITE.expression.encode()).hexdigest()


def test_a_composite_without_a_scene_has_no_expression(path):
    ExpressionSidecar.of(None, AREA, []).publish(path)
    made = ExpressionSidecar.read(path)
    assert made is not None
    assert made.expression is None
    ExpressionSidecar.require(path, None)
    with pytest.raises(StorageError, match="have changed since"):
        ExpressionSidecar.require(path, COMPOSITE)


def test_another_expression_than_the_published_one_is_refused(path):
    ExpressionSidecar.of(COMPOSITE, AREA, ITEMS).publish(path)
    ExpressionSidecar.require(path, COMPOSITE)
    other = ServerComposite('{"result":"1"}', "{}", ("B", "G"), "uint8", label_band=False)
    with pytest.raises(StorageError, match=r"cluster-0\.json: .* materialize composite_image"):
        ExpressionSidecar.require(path, other)


@pytest.mark.parametrize("content", [None, "", "[]", '{"expression": 1}'])
def test_what_is_no_record_counts_as_none(path, content):
    if content is not None:
        path.write_text(content)
    assert ExpressionSidecar.read(path) is None
    what = "no composite" if content is None else "cannot be read"
    with pytest.raises(StorageError, match=f"{what}; materialize composite_image first"):
        ExpressionSidecar.require(path, COMPOSITE)


def test_a_changed_expression_shows_in_its_checksum():
    made = ExpressionSidecar.of(COMPOSITE, AREA, ITEMS)
    assert made.damage() is None
    assert ExpressionSidecar.of(None, AREA, []).damage() is None
    assert "another expression" in str(replace(made, expression={"result": "1"}).damage())
    assert "no expression" in str(replace(made, expression=None).damage())


def test_another_version_of_a_scene_or_of_the_table_is_another_composite():
    table = LabelTable("projects/p/assets/t", None, "all", None, {}, "max", version="monday")
    made = ExpressionSidecar.of(COMPOSITE, AREA, ITEMS, table)
    assert made.versions == {"A": "", "B": "", "projects/p/assets/t": "monday"}
    later = replace(table, version="tuesday")
    assert not made.is_same_composite(ExpressionSidecar.of(COMPOSITE, AREA, ITEMS, later))
    first, second = ITEMS
    changed = {**first, "properties": {**first["properties"], "ee:version": "2"}}
    assert not made.is_same_composite(
        ExpressionSidecar.of(COMPOSITE, AREA, [changed, second], table)
    )
    assert made.is_same_composite(replace(made, valid_fraction=0.5))
