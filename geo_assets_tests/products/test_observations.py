from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from shapely.geometry import shape

from geo_assets.errors import ReadError, SourceError
from geo_assets.products import observations
from geo_assets.products.observations import footprint_of, items_meeting, observe
from geo_assets.products.windows import FailedWindow
from geo_assets.sources.rules import CloudRules
from geo_assets_tests.sources.memory_source import (
    Fault,
    MemorySource,
    days_by_hand,
    grid,
    random_scene,
)

BANDS = ("B04", "B08")
AREA = grid(150, 170, row=10, col=20)


def three_days():
    """Five scenes: one day twice in one orbit, one in two halves, one alone."""
    whole, west, east = grid(220, 220), grid(220, 100), grid(220, 130, col=90)
    return [
        random_scene(1, "A1", "2021-05-01", whole),
        random_scene(2, "A2", "2021-05-01", whole, baseline="05.10"),
        random_scene(3, "B1", "2021-05-11", west),
        random_scene(4, "B2", "2021-05-11", east),
        random_scene(5, "C1", "2021-04-11", whole),
    ]


def check_against(seen, scenes, geobox, radius=0, *, unread=None):
    expected = days_by_hand(scenes, geobox, radius)
    assert [str(day) for day in seen.days] == list(expected)
    for day, data, valid in zip(seen.days, seen.data, seen.valid, strict=True):
        wanted = expected[str(day)].copy()
        if unread is not None:
            wanted[:, unread[str(day)]] = np.nan
        np.testing.assert_array_equal(valid, ~np.isnan(wanted[0]))
        np.testing.assert_array_equal(data[:, valid], wanted[:, valid])


@pytest.mark.parametrize("dilate_m", [0, 20, 30])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_days_are_sorted_fused_by_baseline_then_id_and_clear(dtype, dilate_m):
    scenes = three_days()
    scenes = [replace(scene, data=scene.data.astype(dtype)) for scene in scenes]
    source = MemorySource.of(*scenes)
    seen = observe(source, source.items, BANDS, AREA, CloudRules(dilate_m=dilate_m))
    assert seen.data.dtype == dtype
    assert seen.failed == ()
    check_against(seen, scenes, AREA, radius=round(dilate_m / 10))


def test_pixels_without_a_datum_hold_the_fill_of_their_dtype():
    for dtype, fill in {"uint16": 0, "int16": -32768, "float32": np.nan}.items():
        source = MemorySource.of(random_scene(1, "A", "2021-05-01", grid(80, 80), dtype=dtype))
        seen = observe(source, source.items, BANDS, grid(90, 90), CloudRules())
        np.testing.assert_array_equal(np.unique(seen.data[0, :, ~seen.valid[0]]), [fill])


def test_the_order_of_items_changes_nothing():
    source = MemorySource.of(*three_days())
    one = observe(source, source.items, BANDS, AREA, CloudRules())
    other = observe(source, source.items[::-1], BANDS, AREA, CloudRules())
    np.testing.assert_array_equal(one.data, other.data)


def test_bands_come_in_the_order_asked():
    source = MemorySource.of(*three_days())
    one = observe(source, source.items, BANDS, AREA, CloudRules())
    other = observe(source, source.items, BANDS[::-1], AREA, CloudRules())
    np.testing.assert_array_equal(one.data, other.data[:, ::-1])


@pytest.mark.parametrize("rows", [slice(0, 64), slice(37, 101), slice(149, 150)])
def test_a_window_gives_the_pixels_of_the_area_with_clouds_grown_across_its_edge(rows):
    source = MemorySource.of(*three_days())
    rules = CloudRules(dilate_m=50)
    whole = observe(source, source.items, BANDS, AREA, rules)
    part = observe(source, source.items, BANDS, AREA[rows, 40:90], rules)
    np.testing.assert_array_equal(part.data, whole.data[:, :, rows, 40:90])
    np.testing.assert_array_equal(part.valid, whole.valid[:, rows, 40:90])


def test_without_a_classification_every_valid_pixel_is_clear():
    scenes = three_days()
    source = MemorySource.of(*scenes)
    seen = observe(source, source.items, BANDS, AREA, CloudRules(band=None, dilate_m=30))
    expected = days_by_hand(scenes, AREA, clouds=False)["2021-04-11"]
    np.testing.assert_array_equal(seen.valid[0], ~np.isnan(expected[0]))


def test_clouds_are_not_grown_by_metres_on_a_grid_of_degrees():
    area = GeoBox.from_bbox((10, 45, 10.1, 45.1), "EPSG:4326", resolution=0.001)
    with pytest.raises(SourceError, match=r"clouds\.dilate_m: 20.*grid\.crs"):
        observe(MemorySource.of(), [], BANDS, area, CloudRules(dilate_m=20))


def test_no_items_are_no_days():
    seen = observe(MemorySource.of(), [], BANDS, AREA, CloudRules())
    assert seen.days.shape == (0,)
    assert seen.data.shape == (0, 2, 150, 170)
    assert seen.valid.shape == (0, 150, 170)
    assert seen.failed == ()


def test_scenes_elsewhere_are_not_read():
    source = MemorySource.of(random_scene(1, "far", "2021-05-01", grid(50, 50, row=900)))
    assert len(observe(source, source.items, BANDS, AREA, CloudRules()).days) == 0
    assert source.reads == []


def test_a_failed_read_is_narrowed_to_leaves_and_named():
    scenes = three_days()
    # its leaf begins at row 64 and column 0 of the lattice, the area at row 10 and column 20
    scenes[4] = scenes[4].with_faults(Fault(rows=slice(100, 120), cols=slice(30, 40)))
    source = MemorySource.of(*scenes)
    seen = observe(source, source.items, BANDS, AREA, CloudRules())
    expected = FailedWindow(
        54, 0, 64, 44, "C1", "invalid_payload", "scene C1: a block cannot be decoded"
    )
    assert seen.failed == (expected,)
    unread = {str(day): np.zeros(AREA.shape, bool) for day in seen.days}
    unread["2021-04-11"][54:118, 0:44] = True
    check_against(seen, scenes, AREA, unread=unread)


def test_a_fault_makes_all_pixels_unknown_whose_clearness_hangs_on_it():
    scenes = three_days()
    scenes[4] = scenes[4].with_faults(Fault(rows=slice(100, 120), cols=slice(60, 70)))
    source = MemorySource.of(*scenes)
    seen = observe(source, source.items, BANDS, AREA, CloudRules(dilate_m=30))
    failed = np.zeros(AREA.shape, bool)
    for window in seen.failed:
        failed[window.slices] = True
    sound = MemorySource.of(*three_days())
    truth = observe(sound, sound.items, BANDS, AREA, CloudRules(dilate_m=30))
    np.testing.assert_array_equal(seen.valid[0], truth.valid[0] & ~failed)
    assert failed[90 - 3 : 110 + 3, 40 - 3 : 50 + 3].all()


def test_a_scene_beside_the_area_that_is_gone_takes_no_pixel_of_another():
    """Its clouds could be grown into the area, but hide no pixel that is not its own."""
    scenes = three_days()
    beside = random_scene(9, "E1", scenes[0].day, grid(220, 60, col=195))
    gone = beside.with_faults(Fault("permanent", error="the file is missing"))
    source = MemorySource.of(*scenes, gone)
    clouds = CloudRules(dilate_m=100)
    seen = observe(source, source.items, BANDS, AREA, clouds)
    assert "E1" in {scene for scene, _ in source.reads}
    assert seen.failed == ()
    check_against(seen, scenes, AREA, radius=10)


def test_a_scene_that_failed_is_not_replaced_by_another_of_its_day():
    """Else the pixels of a day would change when the scene is healed."""
    scenes = three_days()
    scenes[1] = scenes[1].with_faults(Fault(rows=slice(10, 20), cols=slice(20, 30)))
    source = MemorySource.of(*scenes)
    seen = observe(source, source.items, BANDS, AREA, CloudRules())
    assert [window.scene_id for window in seen.failed] == ["A2"]
    day = list(map(str, seen.days)).index("2021-05-01")
    assert not seen.valid[day, :54, :44].any()
    assert (seen.data[day, :, :54, :44] == 0).all()
    assert seen.valid[day, 54:].any()


def test_a_scene_that_is_gone_fails_within_its_footprint_and_is_not_asked_for_leaves():
    scenes = three_days()
    scenes[2] = scenes[2].with_faults(Fault("permanent", error="the file is missing"))
    source = MemorySource.of(*scenes)
    seen = observe(source, source.items, BANDS, AREA, CloudRules())
    # the western half ends at column 100 of the lattice; its last leaf at 128, 108 of the area
    assert [(w.row, w.col, w.height, w.width, w.kind) for w in seen.failed] == [
        (0, 0, 150, 108, "permanent")
    ]
    assert [name for name, _ in source.reads].count("B1") == 1
    unread = {str(day): np.zeros(AREA.shape, bool) for day in seen.days}
    unread["2021-05-11"][:, :108] = True
    check_against(seen, scenes, AREA, unread=unread)


def test_pixels_beyond_a_narrow_footprint_are_there_however_reading_went():
    """Footprints of archives may miss much of what a file holds."""
    whole = grid(220, 220)
    source = MemorySource.of(random_scene(1, "A", "2021-05-01", whole))
    items = [{**source.items[0], "geometry": whole[:, :80].footprint("EPSG:4326").json}]
    sound = observe(source, items, BANDS, AREA, CloudRules())

    def fail_once():
        source.before_read = None
        raise ReadError("the server is away", kind="transient", scene_id="A")

    source.before_read = fail_once
    seen = observe(source, items, BANDS, AREA, CloudRules())
    assert seen.failed == ()
    np.testing.assert_array_equal(seen.valid, sound.valid)
    assert seen.valid[0, :, 100:].any()


@pytest.mark.parametrize("kind", ["permanent", "invalid_payload", "transient"])
def test_nothing_readable_at_all_is_no_day_and_a_failed_window(kind):
    scene = random_scene(1, "A", "2021-05-01", grid(220, 220)).with_faults(Fault(kind))
    source = MemorySource.of(scene)
    seen = observe(source, source.items, BANDS, AREA, CloudRules())
    assert len(seen.days) == 0
    assert [(w.row, w.col, w.height, w.width, w.kind) for w in seen.failed] == [
        (0, 0, 150, 170, kind)
    ]


def test_a_server_that_is_away_is_not_asked_for_every_leaf():
    scene = random_scene(1, "A", "2021-05-01", grid(600, 600)).with_faults(Fault("transient"))
    source = MemorySource.of(scene)
    seen = observe(source, source.items, BANDS, grid(600, 600), CloudRules())
    assert sum(w.height * w.width for w in seen.failed) == 600 * 600
    assert len(source.reads) == 1 + observations.PATIENCE


@pytest.mark.parametrize("kind", ["invalid_payload", "transient"])
def test_a_file_none_of_which_can_be_read_is_not_asked_for_leaves(kind):
    scene = random_scene(1, "A", "2021-05-01", grid(600, 600)).with_faults(Fault(kind, whole=True))
    source = MemorySource.of(scene)
    seen = observe(source, source.items, BANDS, grid(600, 600), CloudRules())
    assert [(w.height, w.width, w.kind) for w in seen.failed] == [(600, 600, kind)]
    assert len(source.reads) == 1


def test_a_window_that_fails_in_passing_costs_itself_alone():
    fault = Fault("transient", rows=slice(0, 64), cols=slice(64, 128))
    source = MemorySource.of(random_scene(1, "A", "2021-05-01", grid(220, 220)).with_faults(fault))
    seen = observe(source, source.items, BANDS, grid(220, 220), CloudRules())
    assert [(w.row, w.col, w.height, w.width) for w in seen.failed] == [(0, 64, 64, 64)]


@pytest.mark.parametrize("size", [64, 128])
def test_a_chip_that_fails_takes_no_neighbour_with_it(size):
    """Chips lie at multiples of their stride on the lattice, wherever the area begins."""
    chip = (slice(128, 128 + size), slice(128, 128 + size))
    source = MemorySource.of(
        random_scene(1, "A", "2021-05-01", grid(300, 300)).with_faults(
            Fault("transient", rows=chip[0], cols=chip[1])
        )
    )
    seen = observe(source, source.items, BANDS, grid(270, 260, row=11, col=23), CloudRules())
    assert [(w.row, w.col, w.height, w.width) for w in seen.failed] == [
        (128 - 11, 128 - 23, size, size)
    ]


def test_reasons_are_published_without_folders():
    fault = Fault(error="/home/someone/archive/B04.tif: broken")
    source = MemorySource.of(random_scene(1, "A", "2021-05-01", grid(64, 64)).with_faults(fault))
    seen = observe(source, source.items, BANDS, grid(64, 64), CloudRules())
    assert [window.error for window in seen.failed] == ["scene A: B04.tif: broken"]


def test_an_edge_straight_on_the_tile_finds_its_scene_although_it_bulges_in_degrees():
    """A window at the bulge must find the scenes that the whole area finds."""
    tile = GeoBox.from_bbox((300_000, 7_300_000, 409_800, 7_409_800), "EPSG:32633", resolution=10)
    corners = Geometry(tile.extent.geom, tile.crs).to_crs("EPSG:4326")
    item = {"id": "S2", "geometry": corners.json, "properties": {}}
    at_the_edge = [tile[rows, 5000:5010] for rows in (slice(0, 10), slice(-10, None))]
    strict = [
        shape(item["geometry"]).intersects(window.footprint("EPSG:4326").geom)
        for window in at_the_edge
    ]
    assert strict.count(False) == 1, "otherwise this guards nothing"
    assert all(items_meeting([item], window) for window in at_the_edge)
    beyond = tile.pad(300)[:100, 5000:5010]
    assert not items_meeting([item], beyond), "two kilometres away is elsewhere"


def test_the_slack_of_a_small_footprint_is_small():
    item = {"geometry": shapely.box(14, 47, 14.1, 47.1).__geo_interface__}
    slack = footprint_of(item).bounds[2] - 14.1
    assert 0 < slack * 111_000 < 10


def test_a_footprint_that_crosses_itself_has_both_of_its_halves():
    crossed = shapely.Polygon([(14, 47), (15, 48), (15, 47), (14, 48)])
    item = {"geometry": crossed.__geo_interface__}
    assert footprint_of(item).covers(shapely.make_valid(crossed))


def test_a_footprint_whose_parts_overlap_has_what_both_cover():
    west, east = shapely.box(14, 47, 15, 48), shapely.box(14.5, 47, 15.5, 48)
    item = {"geometry": shapely.MultiPolygon([west, east]).__geo_interface__}
    assert footprint_of(item).covers(shapely.union(west, east))


def test_a_polar_grid_across_the_antimeridian_meets_the_scenes_on_both_sides():
    transform = Affine(30, 0, -512_520.55, 0, -30, 524_438.70)
    geobox = GeoBox((512, 512), transform, "EPSG:3413")
    west, south, east, north = geobox.footprint("EPSG:4326").geom.bounds
    item = {
        "id": "around",
        "geometry": shapely.box(west, south, east, north).__geo_interface__,
    }
    assert items_meeting([item], geobox) == [item]


def test_a_footprint_cut_at_180_degrees_has_the_slack_of_its_parts():
    item = random_scene(1, "A", "2021-05-01", grid(50, 50)).item
    west, east = shapely.box(179.3, -18, 180, -17), shapely.box(-180, -18, -179.7, -17)
    item["geometry"] = shapely.geometry.mapping(shapely.MultiPolygon([west, east]))
    assert footprint_of(item).bounds[3] < -16.9
    half_a_world_away = GeoBox((50, 50), Affine(10, 0, 500_000, 0, -10, 8_000_000), "EPSG:32733")
    assert not items_meeting([item], half_a_world_away)
