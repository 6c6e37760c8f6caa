from __future__ import annotations

import datetime as dt
import io
import json

import ee
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from geo_assets.core.areas import ClusterBox
from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.earth_engine import source as module
from geo_assets.sources.earth_engine.faults import CredentialsError, PermanentFault
from geo_assets.sources.earth_engine.source import EarthEngineRules, EarthEngineSource
from geo_assets.sources.protocol import SceneQuery, ServerComposite
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets.storage.chips.expectation import Stretch
from geo_assets_tests.sources.earth_engine.scripted import session_with
from geo_assets_tests.sources.earth_engine.test_pixels import record

GRID = GeoBox((20, 24), Affine(5, 0, 620_000, 0, -5, 5_270_000), "EPSG:26914")
CHIP = GRID[4:12, 6:14]
BOX = ClusterBox(0, "EPSG:26914", tuple(GRID.boundingbox.bbox), 1)
COLLECTION = "projects/some-project/assets/basemaps"
RULES = CompositeRules(("R", "N"), "median", None, CloudRules(), True, "max")
STRETCH = Stretch((0, 1, 0), (0.0, 0.0, 0.0), (200.0, 200.0, 200.0))
NAME = b'{"name": "projects/test-project/thumbnails/abc-1"}'


def query(**options):
    given = {"bands": ("R", "N"), "start": dt.date(2020, 1, 1), "end": dt.date(2020, 12, 31)}
    return SceneQuery(BOX, **(given | options))


def info(index, *, day="2020-06-01", bands=("R", "G", "B", "N"), **properties):
    """An image as ``getInfo`` gives it."""
    time = dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000
    return {
        "type": "Image",
        "id": f"{COLLECTION}/{index}",
        "version": 1_600_000_000_000_000,
        "bands": [
            {
                "id": band,
                "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
                "dimensions": [24, 20],
                "crs": "EPSG:26914",
                "crs_transform": [5, 0, 620_000, 0, -5, 5_270_000],
            }
            for band in bands
        ],
        "properties": {"system:index": str(index), "system:time_start": time, **properties},
    }


def source_of(answer=None, *, attempts=1, **rules):
    return EarthEngineSource(
        EarthEngineRules(COLLECTION, **rules), session_with(answer, attempts=attempts)
    )


def listing(*images):
    """Answer pages of a list of images, as ``toList`` cuts them."""

    def answer(request):
        arguments = call_of(request.expression, "Collection.toList")
        start, count = (arguments[name]["constantValue"] for name in ("offset", "count"))
        return json.dumps({"result": images[start : start + count]}).encode()

    return answer


def call_of(expression, name):
    """Arguments of the first call of a function in an expression."""

    def walk(node):
        if isinstance(node, dict):
            called = node.get("functionInvocationValue", {})
            if called.get("functionName") == name:
                yield called["arguments"]
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    return next(walk(expression), None)


def test_scenes_come_in_order_with_what_later_steps_need():
    source = source_of(listing(info("b", day="2020-07-01"), info("a", day="2020-06-01")))
    found = source.select(query())
    assert [item["id"] for item in found.items] == ["a", "b"]
    assert found.items[0]["properties"]["ee:id"] == f"{COLLECTION}/a"
    assert source.native_geobox(found.items[0], "N") == GRID
    assert not found.left_out


def test_a_collection_of_more_images_than_a_page_is_listed_whole(monkeypatch):
    monkeypatch.setattr(module, "PAGE", 3)
    source = source_of(listing(*(info(f"i{number}") for number in range(7))))
    assert [item["id"] for item in source.select(query()).items] == [f"i{n}" for n in range(7)]
    assert len(source.session.caller.asked) == 3


def test_a_full_last_page_ends_the_list(monkeypatch):
    monkeypatch.setattr(module, "PAGE", 3)
    source = source_of(listing(*(info(f"i{number}") for number in range(6))))
    assert len(source.select(query()).items) == 6


def test_images_without_a_wanted_band_are_left_out_by_name():
    # find_band takes "nir" for B8, which is another band on another sensor.
    source = source_of(listing(info("a"), info("b", bands=("R", "B8"))))
    found = source.select(query(bands=("R", "N")))
    assert [item["id"] for item in found.items] == ["a"]
    (out,) = found.left_out
    assert (out.scene_id, out.reason) == ("b", "missing_band")
    assert "N" in out.detail
    assert "B8" in out.detail


def test_bands_that_no_image_has_are_refused_beside_those_they_have():
    source = source_of(listing(info("a"), info("b")))
    said = "none of the 2 images of .* has all of the bands R, nir: a has no nir; it has R, G, B, N"
    with pytest.raises(SourceError, match=said):
        source.select(query(bands=("R", "nir")))
    assert source.select(query(bands=("R",))).items


def test_cloudy_images_and_those_of_other_days_are_left_out():
    source = source_of(
        listing(
            info("clear", CLOUDY_PIXEL_PERCENTAGE=5),
            info("cloudy", CLOUDY_PIXEL_PERCENTAGE=80),
            info("early", day="2019-12-31"),
        )
    )
    found = source.select(query(max_cloud=20))
    assert [item["id"] for item in found.items] == ["clear"]
    assert {out.scene_id: out.reason for out in found.left_out} == {
        "cloudy": "cloud",
        "early": "outside_dates",
    }


def test_the_service_is_asked_for_one_cadence_alone():
    source = source_of(listing(info("a")), cadence="monthly")
    source.select(query())
    expression = source.session.caller.asked[0].expression
    assert call_of(expression, "Filter.equals") == {
        "leftField": {"constantValue": "cadence"},
        "rightValue": {"constantValue": "monthly"},
    }
    plain = source_of(listing(info("a")))
    plain.select(query())
    assert call_of(plain.session.caller.asked[0].expression, "Filter.equals") is None
    assert source.describe() != plain.describe()


def test_a_cadence_that_no_image_has_is_named_with_those_there_are():
    def answer(request):
        narrowed = call_of(request.expression, "Filter.equals") is not None
        images = [] if narrowed else [info("a", cadence="biannual"), info("b")]
        return json.dumps({"result": images}).encode()

    with pytest.raises(
        SourceError, match=r"imagery\.cadence: 'monthly'.*have biannual, no such property$"
    ):
        source_of(answer, cadence="monthly").select(query())


def test_an_area_without_any_image_is_no_fault_of_the_cadence():
    assert source_of(listing(), cadence="monthly").select(query()).items == []


@pytest.mark.parametrize(
    "said",
    [
        "Earth Engine answers 404: asset 'x' not found (does not exist or no access).",
        "Earth Engine answers 403: Permission denied.",
    ],
)
def test_a_collection_that_cannot_be_listed_is_named(said):
    def answer(_):
        raise PermanentFault(said)

    with pytest.raises(SourceError) as raised:
        source_of(answer).select(query())
    message = str(raised.value)
    assert COLLECTION in message
    assert said in message
    assert "check the id" in message


def test_expired_credentials_stay_what_they_are():
    def answer(_):
        message = "Earth Engine answers 401: expired"
        raise CredentialsError(message)

    with pytest.raises(CredentialsError):
        source_of(answer).select(query())


def test_nothing_is_asked_for_a_composite():
    source = source_of(listing(info("a"), info("b", day="2020-07-01")))
    items = source.select(query()).items
    source.session.caller.asked.clear()
    made = source.composite(items, GRID, RULES)
    assert not source.session.caller.asked
    assert made.bands == ("R", "N")
    assert made.dtype == "uint16"
    assert not made.label_band
    assert made == source.composite(items[::-1], GRID, RULES)
    assert made.sha256 != source.composite(items[:1], GRID, RULES).sha256
    for item in items:
        assert item["properties"]["ee:id"] in made.expression
    assert "test-project" not in made.expression
    assert "127.0.0.1" not in json.dumps(source.describe()) + made.expression


def pixels_answer(request):
    grid = json.loads(request.body)["grid"]["dimensions"]
    shape = (grid["height"], grid["width"])
    data = np.stack([np.full(shape, 3), np.full(shape, 4), np.ones(shape)]).astype(np.uint16)
    return record(("R", "N", "valid"), data)


COMPOSITE = ServerComposite(
    '{"result":"0","values":{"0":{"constantValue":1}}}', "{}", ("R", "N"), "uint16", False
)


def test_a_chip_takes_one_request_with_the_expression_as_it_is():
    source = source_of(pixels_answer)
    pixels = source.read(COMPOSITE, CHIP)
    assert pixels.data.shape == (2, 8, 8)
    assert pixels.valid.all()
    (asked,) = source.session.caller.asked
    assert asked.path == "/v1/projects/test-project/image:computePixels"
    assert COMPOSITE.expression.encode() in asked.body


def test_a_request_that_is_too_large_is_refused_before_it_is_sent():
    source = source_of(pixels_answer)
    with pytest.raises(SourceError, match=r"50,?331,?648"):
        source.read(COMPOSITE, GeoBox((4096, 4096), GRID.affine, "EPSG:26914"))
    assert not source.session.caller.asked


def in_turn(*payloads):
    left = list(payloads)
    return lambda _: left.pop(0)


def chip_of(value):
    shape = CHIP.shape
    return record(
        ("R", "N", "valid"),
        np.stack([np.full(shape, value), np.ones(shape), np.ones(shape)]).astype(np.uint16),
    )


def test_a_confirmed_chip_needs_two_answers_alike():
    source = source_of(in_turn(chip_of(1), chip_of(2), chip_of(1)), confirm=True)
    assert (source.read(COMPOSITE, CHIP).data[0] == 1).all()
    assert len(source.session.caller.asked) == 3


def test_a_chip_of_which_no_two_answers_are_alike_fails():
    source = source_of(in_turn(*(chip_of(value) for value in range(20))), confirm=True)
    with pytest.raises(ReadError) as raised:
        source.read(COMPOSITE, CHIP)
    assert raised.value.kind == "invalid_payload"


def test_a_chip_that_needs_no_confirmation_is_asked_once():
    source = source_of(in_turn(chip_of(1)))
    source.read(COMPOSITE, CHIP)
    assert len(source.session.caller.asked) == 1


def picture(format_="PNG", shape=(8, 8), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, shape[::-1], (10, 20, 30, 255)[: len(mode)]).save(file, format_)
    return file.getvalue()


def composite_of(source):
    source.session.prepare()
    image = ee.Image([1, 2, 1]).rename(["R", "N", "valid"])
    return ServerComposite(
        source.session.encode(image), "{}", ("R", "N"), "uint16", label_band=False
    )


@pytest.mark.parametrize("format_", ["png", "jpg"])
def test_a_picture_is_named_and_fetched(format_):
    payload = picture("PNG" if format_ == "png" else "JPEG")
    source = source_of(in_turn(NAME, payload))
    assert source.read_picture(composite_of(source), CHIP, format_, STRETCH) == payload
    named, fetched = source.session.caller.asked
    assert named.path.startswith("/v1/projects/test-project/thumbnails")
    assert json.loads(named.body)["fileFormat"] == ("PNG" if format_ == "png" else "JPEG")
    assert (fetched.method, fetched.path) == (
        "GET",
        "/v1/projects/test-project/thumbnails/abc-1:getPixels",
    )


def test_a_picture_lies_on_exactly_the_chip():
    source = source_of(in_turn(NAME, picture()))
    source.read_picture(composite_of(source), CHIP, "png", STRETCH)
    clipped = call_of(source.session.caller.asked[0].expression, "Image.clipToBoundsAndScale")
    assert clipped is not None
    text = json.dumps(source.session.caller.asked[0].expression)
    assert json.dumps(list(CHIP.boundingbox.bbox)) in text
    assert json.dumps(list(CHIP.affine)[:6]) in text


@pytest.mark.parametrize(
    "damaged",
    [
        picture()[:-20],
        picture(shape=(8, 7)),
        picture("JPEG"),
        picture()[:50] + bytes([picture()[50] ^ 255]) + picture()[51:],
        b"<html></html>",
    ],
)
def test_a_picture_that_is_not_what_was_asked_for_is_asked_again(damaged):
    whole = picture()
    source = source_of(in_turn(NAME, damaged, whole), attempts=2)
    assert source.read_picture(composite_of(source), CHIP, "png", STRETCH) == whole
    broken = source_of(in_turn(NAME, damaged))
    composite = composite_of(broken)
    with pytest.raises(ReadError) as raised:
        broken.read_picture(composite, CHIP, "png", STRETCH)
    assert raised.value.kind == "invalid_payload"


@pytest.mark.parametrize(
    "answer",
    [b"{}", b"[]", b"no json", b'{"name": "../../elsewhere"}', b'{"name": "https://x.example/a"}'],
)
def test_a_name_that_is_no_thumbnail_is_not_fetched(answer):
    source = source_of(in_turn(answer))
    with pytest.raises(ReadError) as raised:
        source.read_picture(composite_of(source), CHIP, "png", STRETCH)
    assert raised.value.kind == "invalid_payload"
    assert len(source.session.caller.asked) == 1


def test_a_picture_of_a_published_expression_needs_no_composite_before():
    composite = composite_of(source_of())
    ee.Reset()
    source = source_of(in_turn(NAME, picture()))
    assert source.read_picture(composite, CHIP, "png", STRETCH) == picture()
