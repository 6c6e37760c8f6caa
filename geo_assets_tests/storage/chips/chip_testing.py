"""Small chips with known content, for the tests of the chip catalog."""

from __future__ import annotations

import datetime as dt
import hashlib
import os

import numpy as np
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.core.chips import ChipPixels, ChipSpec, NoImagery
from geo_assets.storage.chips.catalog import ChipCollection, read_rows
from geo_assets.storage.chips.files import ChipEncoding
from geo_assets.storage.chips.paths import ChipPaths
from geo_assets.storage.chips.store import ChipStore
from geo_assets.storage.layout import Layout

SIZE = 16
BANDS = ("B04", "B08", "label")
COLLECTION = ChipCollection("demo-chips", "Chips of a test.")
RECIPE = hashlib.sha256(b"first").hexdigest()
OTHER_RECIPE = hashlib.sha256(b"second").hexdigest()
NOON = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC)


def a_spec(number=0, recipe=RECIPE, **fields):
    transform = Affine(10, 0, 500_000 + 10 * SIZE * number, 0, -10, 5_900_000)
    return ChipSpec(
        **{
            "chip_id": f"north-train-r0-c{number:05d}",
            "fold": "north",
            "split": "train",
            "cluster": 0,
            "geobox": GeoBox((SIZE, SIZE), transform, "EPSG:32633"),
            "recipe": recipe,
            "scene_ids": ("S2A_1", "S2B_2"),
            "start": dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
            "end": dt.datetime(2024, 8, 1, tzinfo=dt.UTC),
        }
        | fields
    )


def some_specs(count, recipe=RECIPE):
    return [a_spec(number, recipe) for number in range(count)]


def number_of(spec):
    return int(spec.chip_id.rpartition("c")[2])


def pixels_of(spec):
    """Pixels that depend on nothing but the chip and its recipe."""
    seed = int(hashlib.sha256(f"{spec.chip_id}{spec.recipe}".encode()).hexdigest()[:8], 16)
    data = np.random.default_rng(seed).integers(1, 200, (3, SIZE, SIZE)).astype("uint16")
    data[-1] %= 4
    return ChipPixels(data, np.ones((SIZE, SIZE), bool))


def read_well(spec):
    """Every seventh chip has no imagery, the others are as they should be."""
    return NoImagery("no scene") if number_of(spec) % 7 == 3 else pixels_of(spec)


class Reader:
    """A source that remembers what it was asked, and fails where it is told to."""

    def __init__(self, read=pixels_of, failures=()):
        self.read = read
        self.failures = dict(failures)
        self.asked = []

    def __call__(self, spec):
        self.asked.append(spec.chip_id)
        if error := self.failures.get(spec.chip_id):
            raise error
        return self.read(spec)


def a_store(results, chip_format="tif", dtype="uint16", **fields):
    encoding = ChipEncoding(format=chip_format, bands=BANDS, dtype=dtype, **fields)
    return ChipStore(
        ChipPaths.of(Layout(results.parent, results.name), "north", "train"), encoding, COLLECTION
    )


def facts(store):
    """A catalog's rows without ``updated``."""
    return [
        (
            row.spec,
            row.href,
            {name: value for name, value in vars(row.outcome).items() if name != "updated"},
        )
        for row in read_rows(store.paths.catalog)
    ]


def chip_files(store):
    """Name, content and time of every file in the chip folder, temporaries among them."""
    return {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in store.paths.chips.glob("*")
    }


def zarr_of(store):
    return store.paths.chips / "chips.zarr"


def group_of(store):
    return zarr.open_group(zarr_of(store), mode="r")


def indices(store):
    return {
        row.spec.chip_id: int(row.href.partition("#")[2])
        for row in read_rows(store.paths.catalog)
        if row.href is not None
    }


def die(done, total, _counters):
    """End a run after its last chip and before its publication."""
    if done == total:
        raise KeyboardInterrupt


def store_files(store):
    """Content and time of every file of the store."""
    return {
        file.relative_to(zarr_of(store)).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in zarr_of(store).rglob("*")
        if file.is_file()
    }


def assert_zarr_python_reads(store, wanted):
    """What zarr-python reads is the chips of the catalog, and nothing anywhere else."""
    group, found = group_of(store), indices(store)
    assert found.keys() == {spec.chip_id for spec in wanted}
    ids = group["chip_id"][:]
    assert {chip_id: int(np.flatnonzero(ids == chip_id)[0]) for chip_id in ids if chip_id} == found
    for spec in wanted:
        index = found[spec.chip_id]
        np.testing.assert_array_equal(group["pixels"][index], pixels_of(spec).data)
        assert group["valid"][index].all()
        assert group["crs"][index] == "EPSG:32633"
        assert tuple(group["transform"][index]) == spec.geobox.transform[:6]
    holes = sorted(set(range(len(ids))) - set(found.values()))
    assert not group["pixels"][:][holes].any()
    assert not group["valid"][:][holes].any()
    assert np.isnan(group["transform"][:][holes]).all()


def flip_a_bit(file, position=0.6):
    """Change one bit and nothing that the directory shows."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 8
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
