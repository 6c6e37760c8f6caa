"""Polygons: what is fine stays as it is, what is repairable is repaired and said."""

from __future__ import annotations

import geopandas
import hypothesis.strategies as st
import numpy as np
import pytest
import shapely
from hypothesis import given, settings

from geo_assets.core.polygons import checked_polygons, name_rows
from geo_assets.errors import AreaError


def _series(*geometries, crs="EPSG:4326"):
    return geopandas.GeoDataFrame(geometry=list(geometries), crs=crs)


def test_valid_polygons_are_not_touched():
    frame = _series(shapely.box(1, 2, 3, 4), shapely.MultiPolygon([shapely.box(5, 6, 7, 8)]))
    geometry, warnings = checked_polygons(frame, source_name="a")
    assert warnings == []
    assert geometry.geom_equals_exact(frame.geometry, 0).all()


def test_heights_are_dropped():
    geometry, _ = checked_polygons(
        _series(shapely.force_3d(shapely.box(1, 2, 3, 4), 9)), source_name="a"
    )
    assert not geometry.has_z.any()


def test_a_polygon_split_at_the_antimeridian_into_two_features_is_fine():
    frame = _series(shapely.box(179.5, -17, 180, -16), shapely.box(-180, -17, -179.5, -16))
    geometry, _ = checked_polygons(frame, source_name="a")
    assert len(geometry) == 2


def test_a_projected_polygon_across_the_antimeridian_is_refused():
    frame = _series(shapely.box(800000, 8000000, 900000, 8010000), crs="EPSG:32760")
    with pytest.raises(AreaError, match="cross the antimeridian"):
        checked_polygons(frame, source_name="a")


def test_rows_are_named_up_to_ten():
    assert name_rows(np.array([True, False, True])) == "rows 0, 2"
    assert name_rows(np.ones(13, bool)).endswith("8, 9 and 3 more")


coordinate = st.floats(-0.5, 0.5).map(lambda value: round(value, 3))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9))
def test_any_ring_is_refused_or_comes_out_valid_with_its_area(points):
    ring = shapely.Polygon(points)
    try:
        geometry, _ = checked_polygons(_series(ring), source_name="ring")
    except AreaError:
        assert not ring.is_valid
        return
    assert geometry.is_valid.all()
    assert geometry.geom_type[0] in ("Polygon", "MultiPolygon")
    assert shapely.area(geometry[0]) == pytest.approx(ring.area, rel=0.0102)
