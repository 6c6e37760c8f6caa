"""One partition of the cashew campaign in every chip format, and with every answer confirmed."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import zarr
from PIL import Image

import geo_assets
from geo_assets.campaign_file import load_campaign
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.opening import Payloads
from geo_assets_tests.acceptance.earth_engine_support import (
    BANDS,
    cashew,
    labels_by_hand,
    median_by_hand,
    scenes_of,
    serve_assets,
)
from geo_assets_tests.acceptance.support import Workplace, materialize, metadata_of, say
from geo_assets_tests.emulators.earth_engine.faults import FaultKind, FaultPlan
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

if TYPE_CHECKING:
    from collections import Counter

    from geo_assets.campaign import Campaign

pytestmark = pytest.mark.real_data

FOLD, SPLIT = "fold1", "train"
KEY = f"{FOLD}|{SPLIT}"
FORMATS = ("tif", "zip", "npy", "png", "jpg")
SHOWN = ("R", "G", "B")
LOW, HIGH = 70.0, 110.0
"""A stretch that cuts both ends of the values off."""


@dataclass(frozen=True)
class Made:
    """The partition in one format: where it lies, what its run said, what the service was asked."""

    place: Workplace
    campaign: Campaign
    metadata: dict[str, object]
    calls: Counter[str]
    content: dict[str, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self):
        payloads = Payloads(self.place.layout(self.campaign).chip_catalog(FOLD, SPLIT))
        self.content.update({row.spec.chip_id: payloads.read(row.href) for row in self.rows()})

    @property
    def folder(self):
        return self.place.layout(self.campaign).chip_catalog(FOLD, SPLIT).parent

    def rows(self):
        return read_rows(self.place.layout(self.campaign).chip_catalog(FOLD, SPLIT))


@dataclass(frozen=True)
class World:
    """The service, and a place where all but the chips is made."""

    emulator: EarthEngineEmulator
    place: Workplace
    metadata: dict[str, object]

    def chips(self, folder, **changes) -> Made:
        """Make the chips of one more campaign on a copy of what lies before them."""
        place = self.place.copy(folder)
        campaign = campaign_in(folder, **changes)
        self.emulator.ledger.reset()
        run = materialize(campaign, place, ("chip_catalog",), keys=[KEY])
        metadata = metadata_of(run, campaign, "chip_catalog")[KEY]
        return Made(place, campaign, metadata, self.emulator.ledger.calls.copy())


def campaign_in(folder, **changes):
    path = cashew(folder, **changes)
    text = path.read_text().replace("stretch: [0.0, 255.0]", f"stretch: [{LOW}, {HIGH}]")
    assert str(LOW) in text
    path.write_text(text)
    return load_campaign(str(path))


@pytest.fixture(scope="module")
def world(real_data, tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("before"))
    campaign = campaign_in(place.folder)
    before = ("labels", "aoi_clusters", "scenes", "composite_image", "chip_grid")
    with (
        pytest.MonkeyPatch.context() as patch,
        EarthEngineEmulator(serve_assets(real_data, place.folder)) as emulator,
    ):
        patch.setenv("GEO_ASSETS_EE_PROJECT", "cashew")
        patch.setenv("GEO_ASSETS_EE_URL", emulator.url)
        patch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path_factory.mktemp("limits")))
        run = materialize(campaign, place, before, keys=[KEY])
        yield World(emulator, place, metadata_of(run, campaign, "composite_image")[KEY])


@pytest.fixture(scope="module")
def made(world, tmp_path_factory) -> dict[str, Made]:
    return {
        name: world.chips(tmp_path_factory.mktemp(name) / "copy", format=name) for name in FORMATS
    }


@pytest.fixture(scope="module")
def by_hand(made, real_data):
    """For each chip: the bands and the label, and where they hold a datum."""
    scenes = scenes_of(real_data)
    found = {}
    for row in made["tif"].rows():
        transform, shape = row.spec.geobox.affine, row.spec.geobox.shape.yx
        median, there = median_by_hand(scenes, transform, shape)
        with rasterio.open(made["tif"].folder / row.href) as file:
            there &= file.dataset_mask() > 0  # a cluster's edge: test_earth_engine computes it
        label = labels_by_hand(made["tif"].place.folder, FOLD, SPLIT, transform, shape)
        found[row.spec.chip_id] = np.where(there, median, 0), label, there
    return found


def pixels_of(chip_format, content):
    """Bands as rasterio, numpy and Pillow read them, and validity where the format states it."""
    if chip_format == "npy":
        return np.load(io.BytesIO(content)), None
    if chip_format in {"png", "jpg"}:
        with Image.open(io.BytesIO(content)) as image:
            return np.moveaxis(np.asarray(image), -1, 0), None
    if chip_format == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            [name] = archive.namelist()
            return pixels_of("tif", archive.read(name))
    with rasterio.open(io.BytesIO(content)) as file:
        return file.read(), file.dataset_mask() > 0


@pytest.mark.parametrize("chip_format", ["tif", "zip", "npy"])
def test_pixels_are_the_median_of_numpy_in_every_format(chip_format, made, by_hand):
    content = made[chip_format].content
    assert set(content) == set(by_hand)
    assert len(content) > 8
    for chip, payload in content.items():
        data, valid = pixels_of(chip_format, payload)
        median, label, there = by_hand[chip]
        np.testing.assert_array_equal(data[:-1], median)
        np.testing.assert_array_equal(data[-1][there], label[there])
        if valid is not None:
            np.testing.assert_array_equal(valid, there)


def test_a_zarr_store_holds_the_pixels_of_the_other_formats(world, made, by_hand, tmp_path):
    stored = world.chips(tmp_path / "copy", format="zarr")
    catalog = stored.place.layout(stored.campaign).chip_catalog(FOLD, SPLIT)
    store = zarr.open_group(stored.folder / "../../chips" / FOLD / SPLIT / "chips.zarr", mode="r")
    assert stored.metadata["ok"] == len(by_hand)
    assert stored.metadata["requests"] == made["npy"].metadata["requests"]
    for row in stored.rows():
        median, label, there = by_hand[row.spec.chip_id]
        data, geobox = geo_assets.open_chip(catalog, row.spec.chip_id)
        np.testing.assert_array_equal(data[:-1], median)
        np.testing.assert_array_equal(data[-1][there], label[there])
        assert geobox == row.spec.geobox
        index = int(row.href.partition("#")[2])
        np.testing.assert_array_equal(store["pixels"][index], data)
        np.testing.assert_array_equal(store["valid"][index], there)


def drawn(median, there):
    """Red, green and blue from low to high as 1 to 255, halves rounded to even; 0 is no datum."""
    values = median[[BANDS.index(band) for band in SHOWN]].astype(float)
    share = np.clip((values - LOW) / (HIGH - LOW), 0, 1)
    return np.where(there, np.rint(1 + 254 * share), 0)


def test_a_png_is_the_stretched_median_within_one_grey_value(made, by_hand):
    exact = worst = pixels = 0
    seen = set()
    for chip, payload in made["png"].content.items():
        data, _ = pixels_of("png", payload)
        median, _, there = by_hand[chip]
        away = np.abs(data[:3].astype(int) - drawn(median, there))
        worst = max(worst, away.max())
        exact += (away == 0).sum()
        pixels += away.size
        seen |= set(np.unique(data[:3]).tolist())
        np.testing.assert_array_equal((data[:3] > 0).any(axis=0), there)
    say(f"\npng: {exact / pixels:.2%} of {pixels} values alike, the others {worst:g} away at most")
    assert worst <= 1
    assert {1, 255} <= seen, "otherwise the stretch cut nothing off"


def test_a_jpg_shows_the_same_picture(made, by_hand):
    away = []
    for chip, payload in made["jpg"].content.items():
        data, _ = pixels_of("jpg", payload)
        median, _, there = by_hand[chip]
        difference = np.abs(data.astype(int) - drawn(median, there))
        # A jpg smears edges of no datum over its blocks of eight pixels.
        away.append(difference[:, there].mean() if there.all() else 0)
    say(f"\njpg: {max(away):.2f} grey values away in the mean of the worst chip")
    assert max(away) < 12


def test_pixels_take_one_request_a_chip_and_pictures_two(made):
    for name, one in made.items():
        calls = one.calls
        say(f"\n{name}: {len(one.content)} chips, {dict(calls)}, {one.metadata['bytes']} bytes")
        assert one.metadata["ok"] == one.metadata["asked"] == len(one.content)
        assert one.metadata["failed"] == one.metadata["retries"] == 0


# -------------------------------------------------------------------------------- confirm: twice


def test_a_confirmed_campaign_asks_each_chip_twice_and_accepts_no_flipped_pixel(
    world, made, tmp_path
):
    flips = FaultPlan(share=0.3, kinds=[FaultKind.FLIPPED_PIXEL], tries="every", seed=4)
    world.emulator.faults = flips
    try:
        once = world.chips(tmp_path / "once", format="npy")
        twice = world.chips(tmp_path / "twice", format="npy", confirm="twice")
        flipped = sum(1 for entry in world.emulator.ledger.entries if entry.fault)
    finally:
        world.emulator.faults = FaultPlan()
    right = made["npy"].content
    wrong = {chip for chip in right if once.content[chip] != right[chip]}
    say(f"\nflipped pixels: {len(wrong)} wrong chips asked once; {flipped} flips, none asked twice")
    assert wrong, "otherwise nothing was flipped"
    assert flipped
    assert twice.content == right
    assert twice.metadata["ok"] == len(right)
    assert twice.metadata["requests"] >= 2 * len(right)


@pytest.mark.usefixtures("world")
def test_confirming_or_not_is_no_reason_to_ask_again(made, tmp_path):
    again = Workplace(made["tif"].place.folder).copy(tmp_path / "copy")
    campaign = campaign_in(tmp_path / "copy", confirm="twice")
    run = materialize(campaign, again, ("chip_catalog",), keys=[KEY])
    assert metadata_of(run, campaign, "chip_catalog")[KEY]["asked"] == 0
