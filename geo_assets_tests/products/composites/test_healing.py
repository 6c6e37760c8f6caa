"""What failed is read again, and nothing else; then a composite is as if nothing had failed."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from geo_assets.errors import ReadError, StorageError
from geo_assets.products.composites import builder as composites
from geo_assets.products.composites.sidecar import Sidecar
from geo_assets.sources.rules import CloudRules
from geo_assets_tests.products.composites.composite_testing import (
    AREA,
    builder_of,
    read,
    scenes,
)
from geo_assets_tests.sources.memory_source import Fault, MemorySource, grid, random_scene


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "c.tif", tmp_path / "c.json"


def sound(tmp_path, **changes):
    """The file and the sidecar that are built where nothing fails."""
    image = tmp_path / "sound.tif"
    made, _ = builder_of(MemorySource.of(*scenes()), **changes).build(image, tmp_path / "s.json")
    return image.read_bytes(), made


@pytest.mark.parametrize("dilate_m", [0, 30])
@pytest.mark.parametrize("block", [512, 64])
def test_a_healed_composite_is_the_one_that_never_failed(
    paths, tmp_path, monkeypatch, dilate_m, block
):
    monkeypatch.setattr(composites, "BLOCK", block)
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    clouds = CloudRules(dilate_m=dilate_m)
    source = MemorySource.of(*scenes())
    source.change(
        scenes()[0].with_faults(Fault(rows=slice(60, 80), cols=slice(60, 90))),
        scenes()[3].with_faults(Fault(rows=slice(70, 100), cols=slice(80, 120), error="torn")),
        scenes()[4].with_faults(Fault("transient", slice(150, 160), slice(180, 190))),
    )
    builder = builder_of(source, clouds=clouds)
    broken, how = builder.build(*paths)
    content, whole = sound(tmp_path, clouds=clouds)
    failed = np.zeros(AREA.shape, bool)
    for window in broken.failed_windows:
        failed[window.slices] = True
    data, mask = read(paths[0])
    with rasterio.MemoryFile(content) as memory, memory.open() as file:
        truth, true_mask = file.read(), file.dataset_mask() > 0
    assert how == "built"
    assert {window.scene_id for window in broken.failed_windows} == {"A1", "C1", "D1"}
    np.testing.assert_array_equal(mask, true_mask & ~failed)
    np.testing.assert_array_equal(data[:, ~failed], truth[:, ~failed])
    assert (data[:-1, failed] == 0).all(), "no-data until it is healed"

    source.change(*scenes())
    source.reads.clear()
    healed, how = builder.build(*paths)
    assert how == "healed"
    assert paths[0].read_bytes() == content
    assert healed == whole


class Flickering(MemorySource):
    """A source whose scenes cannot be opened at every other call for their grid."""

    calls = 0

    def native_geobox(self, item, band):
        self.calls += 1
        if self.calls % 2:
            raise ReadError("away just now", kind="transient")
        return super().native_geobox(item, band)


@pytest.mark.parametrize("calls", [0, 1])
def test_a_scene_that_is_away_for_a_moment_takes_no_healed_pixel_with_it(
    paths, tmp_path, monkeypatch, calls
):
    """Blocks follow the first scene's file; what was healed is laid into the same ones."""
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    monkeypatch.setattr(composites, "BLOCK", 64)
    corner = random_scene(6, "E1", "2021-04-01", grid(120, 120, row=37, col=51))
    everything = [corner, *scenes()]
    damaged = scenes()[3].with_faults(Fault(rows=slice(0, 220), cols=slice(0, 220)))
    source = Flickering.of(*everything)
    source.change(damaged)
    builder = builder_of(source)
    builder.build(*paths)
    source.change(*everything)
    source.calls = calls
    healed, how = builder.build(*paths)
    image = tmp_path / "sound.tif"
    whole, _ = builder_of(MemorySource.of(*everything)).build(image, tmp_path / "s.json")
    assert how == "healed"
    assert paths[0].read_bytes() == image.read_bytes()
    assert healed == whole


def test_healing_reads_the_failed_windows_and_nothing_else(paths):
    source = MemorySource.of(*scenes())
    source.change(scenes()[0].with_faults(Fault(rows=slice(60, 80), cols=slice(60, 90))))
    builder = builder_of(source)
    broken, _ = builder.build(*paths)
    source.change(*scenes())
    source.reads.clear()
    builder.heal(*paths)
    pixels = sum(window.height * window.width for window in broken.failed_windows)
    for scene in ("A1", "A2", "C1", "D1"):
        assert source.pixels_read(scene) == pixels
    assert pixels == 118 * 108


def test_overlapping_failed_windows_of_several_scenes_are_read_once(paths, tmp_path):
    source = MemorySource.of(*scenes())
    source.change(
        *(
            scene.with_faults(Fault(rows=slice(70, 80), cols=slice(70, 80)))
            for scene in scenes()
            if scene.id != "B1"
        )
    )
    builder = builder_of(source)
    broken, _ = builder.build(*paths)
    assert len(broken.failed_windows) == 4
    source.change(*scenes())
    source.reads.clear()
    builder.heal(*paths)
    assert source.pixels_read("A1") == 64 * 64
    assert paths[0].read_bytes() == sound(tmp_path)[0]


def test_a_half_healed_composite_is_the_one_built_from_what_can_be_read_now(paths, tmp_path):
    """Also where blocks, which follow the first scene's file, cut the leaves that failed."""
    corner = random_scene(6, "E1", "2021-05-21", grid(120, 120, row=40, col=60))
    first, second, *others = (corner, *scenes())
    fault_above = Fault("transient", slice(30, 35), slice(70, 75))
    fault_below = Fault("transient", slice(50, 55), slice(70, 75))
    torn = others[2].with_faults(fault_above)
    source = MemorySource.of(first, second.with_faults(fault_below), *others[:2], torn, *others[3:])
    builder = builder_of(source)
    builder.build(*paths)
    source.change(second)
    half, how = builder.build(*paths)
    fresh = tmp_path / "fresh.tif"
    now, _ = builder_of(source).build(fresh, tmp_path / "fresh.json")
    assert how == "healed"
    assert half == now
    assert {(w.row, w.height) for w in half.failed_windows} == {(0, 30)}, "the block ends at 30"
    assert paths[0].read_bytes() == fresh.read_bytes()


def test_what_fails_still_is_kept_and_the_rest_is_healed(paths, tmp_path):
    lost = scenes()[2].with_faults(Fault("permanent", error="the file is missing"))
    torn = scenes()[0].with_faults(Fault(rows=slice(0, 70), cols=slice(0, 70)))
    source = MemorySource.of(*scenes())
    source.change(lost, torn)
    builder = builder_of(source)
    builder.build(*paths)
    content, stat = paths[0].read_bytes(), paths[0].stat().st_mtime_ns
    source.reads.clear()
    again, how = builder.build(*paths)
    assert how == "kept"
    assert (paths[0].read_bytes(), paths[0].stat().st_mtime_ns) == (content, stat)
    source.change(scenes()[0])
    half, how = builder.build(*paths)
    assert how == "healed"
    assert {w.scene_id for w in again.failed_windows} == {"A1", "B1"}
    assert {w.scene_id for w in half.failed_windows} == {"B1"}
    source.change(*scenes())
    builder.build(*paths)
    assert paths[0].read_bytes() == sound(tmp_path)[0]


def test_a_scene_that_is_gone_is_asked_alone_before_the_others_are_read(paths):
    source = MemorySource.of(*scenes())
    source.change(scenes()[2].with_faults(Fault("permanent")))
    builder = builder_of(source)
    builder.build(*paths)
    source.reads.clear()
    builder.heal(*paths)
    assert {name for name, _ in source.reads} == {"B1"}


def test_a_scene_beside_the_area_that_failed_and_was_withdrawn_stops_no_healing(paths):
    """The growth of its clouds reaches into the area, its pixels do not: no recipe names it."""
    clouds = CloudRules(dilate_m=200)
    beside = random_scene(9, "N", "2021-05-01", grid(150, 10, row=10, col=4))
    missing = beside.with_faults(Fault("permanent"))
    first = builder_of(MemorySource.of(*scenes(), missing), clouds=clouds)
    first.build(*paths)
    assert Sidecar.read(paths[1]).failed_windows
    left = builder_of(MemorySource.of(*scenes()), clouds=clouds)
    assert left.recipe() == first.recipe()
    left.build(*paths)
    assert not Sidecar.read(paths[1]).failed_windows


def test_healing_finds_the_dtype_of_a_source_that_was_away(paths, tmp_path):
    given_scenes = scenes("float32")
    source = MemorySource.of(*(scene.with_faults(Fault("transient")) for scene in given_scenes))
    builder = builder_of(source)
    assert builder.build(*paths)[0].dtype == "uint16"
    source.change(*given_scenes)
    assert builder.build(*paths)[0].dtype == "float32"
    other = tmp_path / "other.tif"
    builder.build(other, tmp_path / "other.json")
    assert paths[0].read_bytes() == other.read_bytes()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone", "sidecar gone", "old sidecar"])
def test_a_damaged_composite_is_built_anew(paths, damage):
    source = MemorySource.of(*scenes())
    builder = builder_of(source)
    builder.build(*paths)
    content = paths[0].read_bytes()
    if damage == "flipped":
        paths[0].write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "truncated":
        paths[0].write_bytes(content[:-9])
    elif damage == "old sidecar":
        paths[1].write_text('{"recipe": "of an older version"}')
    else:
        paths["sidecar" in damage].unlink()
    assert builder.build(*paths)[1] == "built"
    assert paths[0].read_bytes() == content
    assert builder.build(*paths)[1] == "kept"


def test_healing_builds_an_image_anew_that_is_not_its_sidecars(paths):
    """A run killed between image and sidecar; or a disk that lost a block."""
    builder = builder_of(MemorySource.of(*scenes()))
    builder.build(*paths)
    content = paths[0].read_bytes()
    builder_of(MemorySource.of(scenes()[0])).build(paths[0], paths[1].with_name("other.json"))
    assert paths[0].read_bytes() != content
    assert builder.heal(*paths).describes(paths[0])
    assert paths[0].read_bytes() == content


def test_healing_wants_a_composite_of_the_same_recipe(paths):
    builder = builder_of(MemorySource.of(*scenes()))
    with pytest.raises(StorageError, match=r"c\.tif: no composite; materialize composite_image"):
        builder.heal(*paths)
    builder.build(*paths)
    with pytest.raises(StorageError, match=r"have changed.*materialize composite_image"):
        builder_of(MemorySource.of(*scenes()), reducer="max").heal(*paths)
