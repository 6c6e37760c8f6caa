"""The box of a cluster: its bounds in other CRSs hold all of it, and it survives JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

from geo_assets.core.areas import ClusterBox, measures_metres
from geo_assets.errors import AreaError, StorageError

BOXES = [
    ClusterBox(0, "EPSG:32632", (400000.0, 5200000.0, 560000.0, 5330000.0), 3),
    ClusterBox(1, "EPSG:32737", (528500.0, 9132430.0, 531880.0, 9135230.0), 1),
    ClusterBox(2, "EPSG:27700", (250000.0, 270000.0, 270000.0, 290000.0), 40),
]


@pytest.mark.parametrize("box", BOXES)
def test_a_box_survives_json(box):
    assert ClusterBox.from_dict(json.loads(json.dumps(box.to_dict()))) == box


@pytest.mark.parametrize(
    "values",
    [{}, {"cluster": 0, "crs": "EPSG:4326", "bounds": [1, 2, 3], "polygons": 1}, {"cluster": "x"}],
)
def test_what_is_no_box_is_refused(values):
    with pytest.raises(StorageError, match="not a cluster box"):
        ClusterBox.from_dict(values)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:6933"])
def test_bounds_in_another_crs_hold_every_edge(box, crs):
    minx, miny, maxx, maxy = box.bounds
    t = np.linspace(0, 1, 1001)
    x = np.concatenate([minx + t * (maxx - minx)] * 2 + [np.full(1001, minx), np.full(1001, maxx)])
    y = np.concatenate([np.full(1001, miny), np.full(1001, maxy)] + [miny + t * (maxy - miny)] * 2)
    x, y = Transformer.from_crs(box.crs, crs, always_xy=True).transform(x, y)
    west, south, east, north = box.bounds_in(crs)
    slack = 1e-4 * max(east - west, north - south)
    assert west <= x.min() + slack
    assert east >= x.max() - slack
    assert south <= y.min() + slack
    assert north >= y.max() - slack


def test_bounds_in_its_own_crs_are_its_bounds():
    assert BOXES[0].bounds_in("EPSG:32632") == pytest.approx(BOXES[0].bounds, abs=1e-9)


def test_the_outline_in_degrees_is_a_valid_polygon_with_the_bounds():
    outline = BOXES[0].wgs84_polygon()
    assert outline.is_valid
    assert len(outline.exterior.coords) > 100
    assert outline.bounds == pytest.approx(BOXES[0].wgs84_bounds(), abs=1e-4)
    assert shapely.is_ccw(outline.exterior)


def test_sides_are_metres():
    assert (BOXES[0].width_m, BOXES[0].height_m) == (160000.0, 130000.0)


def test_a_box_across_the_antimeridian_is_refused_by_name():
    box = ClusterBox(4, "EPSG:32760", (800000.0, 8000000.0, 900000.0, 8010000.0), 1)
    with pytest.raises(AreaError, match=r"cluster 4: .* crosses the antimeridian"):
        box.wgs84_bounds()
    with pytest.raises(AreaError, match="crosses the antimeridian"):
        box.wgs84_polygon()


def test_a_box_that_a_crs_cannot_express_is_refused():
    nowhere = ClusterBox(0, "EPSG:32632", (1e9, 1e9, 2e9, 2e9), 1)
    with pytest.raises(AreaError, match="cannot be expressed in WGS 84"):
        nowhere.wgs84_bounds()


@pytest.mark.parametrize(
    ("crs", "where"),
    [
        ("EPSG:32633", (15, 47)),
        ("EPSG:32760", (178, -18)),
        ("EPSG:2056", (8.2, 46.8)),  # oblique Mercator of Switzerland
        ("EPSG:23700", (19, 47)),  # of Hungary
        ("EPSG:29873", (115, 4)),  # of Borneo
        ("EPSG:5514", (15, 50)),
        ("EPSG:3035", (25, 60)),
        ("EPSG:5070", (-100, 45)),
        ("EPSG:3338", (-150, 64)),  # across the antimeridian
        ("EPSG:3031", (100, -75)),
        ("EPSG:5041", (20, 80)),
        ("ESRI:102008", (-100, 50)),
        ("EPSG:4087", (25, 60)),
        ("EPSG:32662", (25, 60)),
        ("EPSG:6933", (25, 60)),
        ("EPSG:3857", (25, 60)),
        ("EPSG:3395", (25, 60)),
        ("EPSG:8857", (100, 60)),
        ("ESRI:54009", (100, 60)),
    ],
)
def test_a_crs_measures_metres_where_a_kilometre_is_one_on_the_ground(crs, where):
    """Geodesics of both axes at a place that is no corner of the CRS's area."""
    transformer = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    x, y = transformer.transform(*where)
    lon, lat = transformer.transform([x, x + 1000, x], [y, y, y + 1000], direction="INVERSE")
    _, _, sides = Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    assert measures_metres(crs) == (max(abs(side / 1000 - 1) for side in sides) < 0.1)


@pytest.mark.parametrize(
    ("crs", "does"),
    [
        ("EPSG:4326", False),
        ("EPSG:2264", False),  # feet
        ("EPSG:4978", False),
        ("+proj=utm +zone=33", True),
        ("+proj=omerc +lat_0=46.95 +lonc=7.44 +alpha=90 +gamma=90 +k=1", True),
        ("+proj=merc", False),
        ("+proj=eqc", False),
        ("+proj=cea", False),
    ],
)
def test_a_crs_without_metres_or_an_area_is_judged_by_what_it_says(crs, does):
    assert measures_metres(crs) is does
