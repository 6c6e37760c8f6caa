"""Reading bodies: an expression once, its grid every time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets_tests.emulators.earth_engine.requests import Bodies, chip_key, lattice_window
from geo_assets_tests.emulators.earth_engine.service_errors import ServiceError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
GRAPHS = st.dictionaries(st.sampled_from(["result", "values", '"expression":', "é"]), JSON)


@given(
    graphs=st.lists(GRAPHS, min_size=1, max_size=5),
    order=st.lists(st.integers(0, 4), max_size=12),
    fields=st.dictionaries(st.sampled_from(["grid", "bandIds", "a", "z"]), JSON),
    first=st.booleans(),
    style=st.sampled_from([{}, {"separators": (",", ":")}, {"ensure_ascii": False}]),
)
def test_a_body_read_from_memory_equals_a_body_parsed(graphs, order, fields, first, style):
    bodies = Bodies()
    for number in order:
        graph = graphs[number % len(graphs)]
        whole = {"expression": graph} | fields if first else fields | {"expression": graph}
        body = json.dumps(whole, **style).encode()
        expression, got = bodies.read(body)
        assert expression.graph == graph
        assert {name: got[name] for name in fields} == fields


def test_an_expression_is_evaluated_once_for_all_its_chips():
    bodies, evaluated = Bodies(), []

    def evaluate(graph):
        evaluated.append(graph)
        return len(evaluated)

    for number in range(3):
        body = json.dumps({"expression": {"result": "0"}, "grid": number}).encode()
        expression, fields = bodies.read(body)
        assert (expression.value(evaluate), fields["grid"]) == (1, number)
    bodies.forget()
    assert bodies.read(body)[0].value(evaluate) == 2


def grid(scale, left, top):
    return {
        "dimensions": {"width": 5, "height": 7},
        "affineTransform": {
            "scaleX": scale,
            "translateX": left,
            "scaleY": -scale,
            "translateY": top,
        },
    }


def test_a_window_counts_pixels_from_the_origin_of_the_crs():
    assert lattice_window(grid(10, 500_050, 4_000_020)) == (-400_002, 50_005, 7, 5)
    assert chip_key(grid(0.5, -2, 0)) == "0_-4_7x5"


@pytest.mark.parametrize("missing", ["dimensions", "affineTransform"])
def test_a_grid_that_is_incomplete_is_refused(missing):
    with pytest.raises(ServiceError, match="incomplete"):
        lattice_window({key: value for key, value in grid(1, 0, 0).items() if key != missing})
