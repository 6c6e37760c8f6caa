"""Graphs of expressions, judged without a server: what is asked, of which images, in what order."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import ee
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geo_assets.errors import SourceError
from geo_assets.sources.earth_engine.expressions import CloudScoreRules, rounded_half_to_even
from geo_assets.sources.earth_engine.images import item_of
from geo_assets.sources.earth_engine.label_table import LabelTable
from geo_assets.sources.earth_engine.source import EarthEngineRules, EarthEngineSource
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets_tests.sources.earth_engine.scripted import session_with
from geo_assets_tests.sources.earth_engine.test_source import COLLECTION, GRID, info

RULES = CompositeRules(("R", "N"), "median", None, CloudRules(), all_touched=True, overlap="max")
SCL = ("R", "N", "SCL")
TABLE = LabelTable("projects/some-project/assets/fields", "split", "train", "crop", {"rye": 3, "oat": 7}, "max")  # fmt: skip  # noqa: E501


def scene(index, *, bands=("R", "N"), **properties):
    return item_of(info(index, bands=bands, **properties), COLLECTION)


def graph_of(items, rules=RULES, table=None, *, preview=False, **options):
    """The expression as one nested value: references replaced by what they refer to."""
    source = EarthEngineSource(EarthEngineRules(COLLECTION, **options), session_with())
    made = source.composite(items, GRID, rules, table)
    expression = json.loads(made.preview_expression if preview else made.expression)

    def whole(node):
        if isinstance(node, dict):
            if "valueReference" in node:
                return whole(expression["values"][node["valueReference"]])
            inner = {key: whole(value) for key, value in node.items()}
            body = inner.get("functionDefinitionValue", {})
            if body:
                body["body"] = whole(expression["values"][body["body"]])
            return inner
        return [whole(value) for value in node] if isinstance(node, list) else node

    return whole(expression["values"][expression["result"]])


def calls(graph, name):
    """Arguments of every call of a function, outermost first; a call used twice counts once."""
    found = {}

    def walk(node):
        if isinstance(node, dict):
            called = node.get("functionInvocationValue", {})
            if called.get("functionName") == name:
                found[json.dumps(called, sort_keys=True)] = called["arguments"]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(graph)
    return list(found.values())


def loaded(graph):
    return [arguments["id"]["constantValue"] for arguments in calls(graph, "Image.load")]


def test_scenes_are_pinned_by_their_ids():
    graph = graph_of([scene("b", day="2020-07-01"), scene("a")])
    assert loaded(graph) == [f"{COLLECTION}/a", f"{COLLECTION}/b"]
    assert not calls(graph, "ImageCollection.load")
    assert not calls(graph, "Collection.filter")


def test_the_outermost_step_lays_the_composite_on_its_grid():
    graph = graph_of([scene("a")])
    laid = graph["functionInvocationValue"]
    assert laid["functionName"] == "Image.reproject"
    assert laid["arguments"]["crs"]["functionInvocationValue"]["arguments"]["crs"] == {
        "constantValue": "EPSG:26914"
    }
    assert laid["arguments"]["crsTransform"] == {"constantValue": list(GRID.affine)[:6]}
    (clipped,) = calls(graph, "Image.clip")
    (rectangle,) = calls(clipped["geometry"], "GeometryConstructors.Rectangle")
    assert rectangle["coordinates"] == {"constantValue": list(GRID.boundingbox.bbox)}
    assert rectangle["geodesic"] == {"constantValue": False}


def test_a_preview_is_not_bound_to_the_grid():
    graph = graph_of([scene("a")], preview=True)
    assert not calls(graph, "Image.reproject")
    assert calls(graph, "Image.clip")


def test_days_of_one_scene_share_one_function():
    graph = graph_of([scene(f"i{day:02}", day=f"2020-06-{day:02}") for day in range(1, 20)])
    assert len(calls(graph, "Collection.map")) == 1
    assert not calls(graph, "ImageCollection.mosaic")


def test_the_first_scene_of_a_day_lies_on_top():
    older = scene("a", PROCESSING_BASELINE="02.00")
    newer = scene("b", PROCESSING_BASELINE="05.00")
    alone = scene("c", day="2020-07-01")
    graph = graph_of([older, alone, newer])
    (mosaic,) = calls(graph, "ImageCollection.mosaic")
    # A mosaic shows its last image: the highest baseline, and of those the first id.
    assert loaded(mosaic) == [f"{COLLECTION}/a", f"{COLLECTION}/b"]
    assert sorted(loaded(graph)) == [f"{COLLECTION}/{name}" for name in "abc"]


def test_the_order_of_scenes_does_not_change_the_expression():
    items = [scene("a"), scene("b"), scene("c", day="2020-07-01")]
    assert graph_of(items) == graph_of(items[::-1])


@pytest.mark.parametrize("reducer", ["median", "mean", "min", "max"])
def test_the_reducer_is_the_services_own(reducer):
    graph = graph_of([scene("a")], replace(RULES, reducer=reducer))
    assert len(calls(graph, f"reduce.{reducer}")) == 1


def test_integers_are_rounded_and_cast_and_floating_point_is_not():
    whole = graph_of([scene("a")])
    assert calls(whole, "Image.floor")
    assert len(calls(whole, "Image.toUint16")) == 1
    fine = graph_of([scene("a")], replace(RULES, dtype="float32"))
    assert not calls(fine, "Image.floor")
    assert len(calls(fine, "Image.toFloat")) == 1
    for graph in (whole, fine):
        assert not calls(graph, "Image.round")


def test_a_least_value_needs_no_rounding():
    assert not calls(graph_of([scene("a")], replace(RULES, reducer="min")), "Image.floor")


def test_scene_classes_mask_what_they_exclude():
    rules = replace(RULES, clouds=CloudRules("SCL", (9, 3, 3), 0))
    (remapped,) = calls(graph_of([scene("a", bands=SCL)], rules), "Image.remap")
    assert remapped["from"] == {"constantValue": [3, 9]}
    assert remapped["to"] == {"constantValue": [1, 1]}


def test_clouds_grow_in_metres_and_the_edge_of_a_scene_does_not():
    rules = replace(RULES, clouds=CloudRules("SCL", (0, 3, 9), 60.0))
    (grown,) = calls(graph_of([scene("a", bands=SCL)], rules), "Image.focalMax")
    assert grown["radius"] == {"constantValue": 60.0}
    assert grown["units"] == {"constantValue": "meters"}
    (remapped,) = calls(grown, "Image.remap")
    assert remapped["from"] == {"constantValue": [3, 9]}


@pytest.mark.parametrize("excluded", [(), (0,)])
def test_no_cloud_to_exclude_grows_nothing(excluded):
    rules = replace(RULES, clouds=CloudRules("SCL", excluded, 60.0))
    assert not calls(graph_of([scene("a", bands=SCL)], rules), "Image.focalMax")


def test_a_collection_without_classes_is_not_asked_for_them():
    assert not calls(graph_of([scene("a")]), "Image.remap")


def test_classes_in_some_images_alone_are_refused():
    with pytest.raises(SourceError, match=r"clouds\.band: 1 of 2"):
        graph_of([scene("a"), scene("b", bands=SCL)])


def test_cloud_scores_are_those_of_the_scene():
    score = CloudScoreRules("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "cs_cdf", 0.6)
    graph = graph_of([scene("a"), scene("b", day="2020-07-01")], cloud_score=score)
    linked = calls(graph, "Image.linkCollection")
    # Of the image itself: in a collection made of a list it would have another system:index.
    assert [loaded(link["input"]) for link in linked] == [
        [f"{COLLECTION}/a"],
        [f"{COLLECTION}/b"],
    ]
    assert calls(graph, "Image.gte")


@pytest.mark.parametrize(("word", "mode"), [("bilinear", "bilinear"), ("cubic", "bicubic")])
def test_scenes_off_the_lattice_are_resampled_as_asked(word, mode):
    (resampled,) = calls(graph_of([scene("a")], resampling=word), "Image.resample")
    assert resampled["mode"] == {"constantValue": mode}
    assert not calls(graph_of([scene("a")]), "Image.resample")


@pytest.mark.parametrize("reducer", ["median", "mean", "min", "max"])
def test_resampled_integers_keep_their_fractions_until_they_are_rounded(reducer):
    graph = graph_of([scene("a")], replace(RULES, reducer=reducer), resampling="bilinear")
    (resampled,) = calls(graph, "Image.resample")
    assert resampled["image"]["functionInvocationValue"]["functionName"] == "Image.toDouble"
    assert calls(graph, "Image.floor")


def test_a_resampling_that_the_service_has_not_is_refused():
    with pytest.raises(SourceError, match=r"grid\.resampling: 'lanczos'"):
        graph_of([scene("a")], resampling="lanczos")


def test_own_polygons_are_classes_and_those_of_other_splits_are_ignored():
    graph = graph_of([scene("a")], table=TABLE)
    (own,) = calls(graph, "Filter.listContains")
    assert own["leftValue"] == {"constantValue": ["train"]}
    (classes,) = calls(graph, "Collection.remap")
    assert classes["lookupIn"] == {"constantValue": ["oat", "rye"]}
    assert classes["lookupOut"] == {"constantValue": [7, 3]}
    (covered,) = calls(graph, "Image.where")
    assert covered["value"]["functionInvocationValue"]["arguments"]["value"] == {
        "constantValue": 255
    }
    assert len(calls(graph, "Collection.reduceToImage")) == 2


def test_a_table_without_splits_ignores_nothing():
    graph = graph_of([scene("a")], table=replace(TABLE, split_column=None))
    assert not calls(graph, "Image.where")
    assert len(calls(graph, "Collection.reduceToImage")) == 1


def test_a_composite_of_no_scene_is_refused():
    with pytest.raises(SourceError, match="at least one scene"):
        graph_of([])


@dataclass(frozen=True)
class Plain:
    """What ``rounded_half_to_even`` needs of an ``ee.Image``, computed by numpy in float64."""

    values: np.ndarray

    def __getattr__(self, name):
        operation = {
            "floor": np.floor,
            "subtract": np.subtract,
            "add": np.add,
            # The service's rest has the sign of what is divided, as in Java.
            "mod": np.fmod,
            "gt": np.greater,
            "eq": np.equal,
            "neq": np.not_equal,
            "And": np.logical_and,
            "Or": np.logical_or,
        }[name]

        def apply(*others):
            plain = [other.values if isinstance(other, Plain) else other for other in others]
            return Plain(operation(self.values, *plain).astype(np.float64))

        return apply


@given(
    arrays.arrays(
        np.float64,
        20,
        elements=st.one_of(
            st.integers(-70_000, 70_000).map(lambda twice: twice / 2),
            st.floats(-70_000, 70_000),
        ),
    )
)
def test_halves_are_rounded_to_even(values):
    np.testing.assert_array_equal(rounded_half_to_even(Plain(values)).values, np.rint(values))


def test_the_graph_reads_back_as_the_same_image():
    source = EarthEngineSource(EarthEngineRules(COLLECTION), session_with())
    made = source.composite([scene("a"), scene("b")], GRID, RULES, TABLE)
    again = ee.deserializer.fromCloudApiJSON(made.expression)
    assert source.session.encode(again) == made.expression
