from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from rasterio.features import rasterize

from geo_assets.core.chip_grid import chip_grid
from geo_assets.core.chips import NoImagery
from geo_assets.errors import ReadError, StorageError
from geo_assets.products.chips.server_chips import PictureFormat, ServerArea, ServerChips
from geo_assets.products.composites.builder import Labels
from geo_assets.sources.earth_engine.label_table import LabelTable
from geo_assets.sources.protocol import ServerComposite, ServerPixels
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets.storage.chips.expectation import ChipEncoding, Stretch
from geo_assets_tests.sources.memory_source import grid, polygons, random_scene

AREA = grid(150, 170, row=10, col=20)
SIZE = 48
DATES = (dt.date(2021, 1, 1), dt.date(2021, 12, 31))
OWN = polygons((30, 40, 25, 31), (50, 60, 30, 30), classes=[3, 1])
OTHER = polygons((70, 50, 20, 25))
RULES = CompositeRules(("B", "G"), "median", None, CloudRules(None), True, "max")
ITEMS = [
    random_scene(1, "A", "2021-05-01", grid(220, 220)).item,
    random_scene(2, "B", "2021-06-21", grid(220, 60)).item,
]
COMPOSITE = ServerComposite("{}", "{}", ("B", "G"), "uint8", label_band=False)
ENCODING = ChipEncoding(format="tif", bands=("B", "G", "label"), dtype="uint8")
TABLE = LabelTable("projects/p/assets/t", "split", "train", None, {"labelled": 1}, "max", "v1")


@dataclass
class Server:
    """A server whose pixels say where they lie; where row + col is even there is no datum."""

    description: dict = field(default_factory=lambda: {"kind": "server"})
    fault: Exception | None = None
    asked: list = field(default_factory=list)

    def describe(self):
        return self.description

    def read(self, composite, geobox):
        self.asked.append(geobox)
        if self.fault:
            raise self.fault
        row, col = np.mgrid[: geobox.shape.y, : geobox.shape.x]
        row = row + round((AREA.affine.f - geobox.affine.f) / 10)
        col = col + round((geobox.affine.c - AREA.affine.c) / 10)
        valid = (row + col) % 2 == 1
        data = np.where(valid, np.stack([row % 251, col % 251]), 0).astype(composite.dtype)
        if composite.label_band:
            data = np.concatenate([data, np.full((1, *geobox.shape), 7, composite.dtype)])
        return ServerPixels(data, valid)

    def read_picture(self, composite, geobox, picture, stretch):
        size = f"{geobox.shape.x}x{geobox.shape.y}"
        return f"{picture} {size} {stretch.high[0]:g} {composite.expression}".encode()


def chips_of(server=None, **changes):
    values = {
        "source": server or Server(),
        "areas": {0: ServerArea(AREA, ITEMS, COMPOSITE)},
        "rules": RULES,
        "labels": Labels(OWN, OTHER),
        "table": None,
        "dates": DATES,
        "picture": None,
    }
    return ServerChips(**{**values, **changes})


def table(area=AREA):
    return chip_grid(
        {0: area}, OWN, fold="f", split="s", size=SIZE, overlap=0.0, border="pad", keep="all"
    )


def recipes(chips, encoding=ENCODING):
    return {spec.chip_id: spec.recipe for spec in chips.specs(table(), encoding)}


def test_a_chip_is_the_servers_pixels_and_the_polygons_burned_on_its_grid():
    chips = chips_of()
    wanted = [
        (shape, value)
        for frame, values in ((OWN, [3, 1]), (OTHER, [255]))
        for shape, value in zip(frame.geometry.to_crs(AREA.crs.proj), values, strict=True)
    ]
    # The largest class wins, then what is another split's.
    wanted.sort(key=lambda pair: pair[1])
    seen = set()
    with chips:
        for spec in chips.specs(table(), ENCODING):
            pixels = chips.read(spec)
            inside = _inside(spec.geobox)
            label = rasterize(
                wanted, spec.geobox.shape, transform=spec.geobox.affine, all_touched=True
            )
            np.testing.assert_array_equal(pixels.data[-1], np.where(inside, label, 0))
            served = Server().read(COMPOSITE, spec.geobox)
            np.testing.assert_array_equal(pixels.valid, served.valid & inside)
            np.testing.assert_array_equal(pixels.data[:-1], np.where(inside, served.data, 0))
            seen |= set(np.unique(pixels.data[-1]))
    assert seen == {0, 1, 3, 255}


def _inside(geobox):
    """Pixels of a chip within the composite, by their centres."""
    cols = geobox.affine.c + (np.arange(geobox.shape.x) + 0.5) * geobox.affine.a
    rows = geobox.affine.f + (np.arange(geobox.shape.y) + 0.5) * geobox.affine.e
    west, south, east, north = AREA.boundingbox.bbox
    return np.outer((rows > south) & (rows < north), (cols > west) & (cols < east))


def test_one_request_a_chip_and_none_without_a_scene():
    server = Server()
    chips = chips_of(server, areas={0: ServerArea(AREA, [ITEMS[1]], COMPOSITE)})
    specs = chips.specs(table(), ENCODING)
    with chips:
        answers = [chips.read(spec) for spec in specs]
    alone = [isinstance(answer, NoImagery) for answer in answers]
    assert 0 < sum(alone) < len(specs)
    assert len(server.asked) == len(specs) - sum(alone)
    assert alone == [not spec.scene_ids for spec in specs]


def test_threads_get_what_one_alone_gets():
    chips = chips_of()
    specs = chips.specs(table(), ENCODING)
    with chips, ThreadPoolExecutor(8) as pool:
        alone = [chips.read(spec).data for spec in specs]
        together = [answer.data for answer in pool.map(chips.read, specs)]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_servers_own_label_band_is_kept_within_the_composite():
    composite = replace(COMPOSITE, bands=("B", "G", "label"), label_band=True)
    chips = chips_of(areas={0: ServerArea(AREA, ITEMS, composite)}, table=TABLE)
    with chips:
        for spec in chips.specs(table(), ENCODING):
            label = chips.read(spec).data[-1]
            np.testing.assert_array_equal(label, np.where(_inside(spec.geobox), 7, 0))


def test_a_picture_is_kept_as_it_was_sent():
    stretch = Stretch((0, 1, 1), (0, 0, 0), (200, 200, 200))
    chips = chips_of(picture=PictureFormat("jpg", stretch))
    with chips:
        assert chips.read(chips.specs(table(), ENCODING)[0]) == b"jpg 48x48 200 {}"


def test_what_the_server_does_not_give_keeps_its_kind():
    chips = chips_of(Server(fault=ReadError("busy", kind="transient")))
    with chips, pytest.raises(ReadError) as caught:
        chips.read(chips.specs(table(), ENCODING)[0])
    assert caught.value.kind == "transient"


def test_a_cluster_without_a_composite_is_named():
    with pytest.raises(StorageError, match="chip_grid names cluster 0"):
        chips_of(areas={}).specs(table(), ENCODING)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": Server({"kind": "server", "collection": "another"})},
        {"rules": replace(RULES, reducer="mean")},
        {"table": TABLE},
    ],
    ids=["source", "rules", "table"],
)
def test_what_decides_every_chip_changes_every_recipe(changes):
    before, after = recipes(chips_of()), recipes(chips_of(**changes))
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_changed_table_asks_its_chips_again_and_polygons_here_do_not():
    before = recipes(chips_of(table=TABLE))
    assert before != recipes(chips_of(table=replace(TABLE, version="v2")))
    assert before == recipes(chips_of(table=TABLE, labels=Labels(OWN.iloc[:1], OTHER)))


def test_a_scene_more_asks_only_the_chips_it_meets():
    before = recipes(chips_of(areas={0: ServerArea(AREA, ITEMS[:1], COMPOSITE)}))
    after = recipes(chips_of())
    changed = {chip_id for chip_id in before if before[chip_id] != after[chip_id]}
    assert 0 < len(changed) < len(before)
