"""Small chip catalogs of any partition, written by the real store."""

from __future__ import annotations

from geo_assets.errors import ReadError
from geo_assets.partitions import fold_and_split
from geo_assets.storage.chips.files import ChipEncoding
from geo_assets.storage.chips.paths import ChipPaths
from geo_assets.storage.chips.store import ChipStore
from geo_assets_tests.storage.chips.chip_testing import BANDS, COLLECTION, NOON, Reader, a_spec


def store_of(layout, key):
    """The store of one partition's chips."""
    encoding = ChipEncoding(format="tif", bands=BANDS, dtype="uint16")
    return ChipStore(ChipPaths.of(layout, *fold_and_split(key)), encoding, COLLECTION)


def write_chips(layout, key, ok=0, failed=(), at=NOON, **fields):
    """Publish a catalog of ``ok`` chips, and one failed chip of each kind in ``failed``.

    ``fields`` are those of every chip, as ``a_spec`` takes them.
    """
    fold, split = fold_and_split(key)
    specs = [
        a_spec(number, chip_id=f"{fold}-{split}-r0-c{number:05d}", fold=fold, split=split, **fields)
        for number in range(ok + len(failed))
    ]
    failures = {
        spec.chip_id: ReadError(f"the archive is {kind}", kind=kind)
        for spec, kind in zip(specs[ok:], failed, strict=True)
    }
    store_of(layout, key).converge(
        specs, Reader(failures=failures), run_id="test", workers=1, clock=lambda: at
    )
