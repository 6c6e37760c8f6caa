"""Proving what is stored: every chip of a partition read, hashed and decoded again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from geo_assets.errors import ReadError
from geo_assets.storage.checksums import agrees
from geo_assets.storage.chips.catalog import read_rows, write_catalog
from geo_assets.storage.chips.catalog_table import CatalogRow
from geo_assets.storage.chips.files import decode_chip
from geo_assets.storage.chips.messages import publishable
from geo_assets.storage.chips.opening import Payloads
from geo_assets.storage.chips.outcomes import corrupt, utc_now
from geo_assets.storage.chips.reports import ChipFailure, VerifyReport
from geo_assets.storage.chips.stamps import RecordedStamp, read_stamps, write_stamps
from geo_assets.storage.disk_errors import writing
from geo_assets.storage.journal import pending_journals, read_journal
from geo_assets.storage.partition_lock import partition_lock

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection

    from geo_assets.storage.chips.catalog import ChipCollection
    from geo_assets.storage.chips.paths import ChipPaths


def verify_chips(
    paths: ChipPaths,
    collection: ChipCollection,
    *,
    run_id: str = "verify",
    clock: Callable[[], dt.datetime] = utc_now,
) -> VerifyReport:
    """Re-read, re-hash and decode every ``ok`` chip; mark the damaged ones for the next run.

    A damaged chip becomes ``failed`` with error kind ``corrupt``. Bands and dtype are those that
    its file or store states: the campaign may have changed since.

    Raises:
        LockedError: A run works on this partition.
        StorageError: The catalog, or the metadata of a Zarr store, cannot be read.
    """
    with partition_lock(paths.lock, run_id=run_id):
        if not paths.catalog.exists():
            return VerifyReport(checked=0, corrupt=())
        rows = read_rows(paths.catalog)
        unpublished = _unpublished_checksums(paths)
        payloads = Payloads(paths.catalog)
        recorded = read_stamps(paths.stamps)
        damaged: list[ChipFailure] = []
        for position, row in enumerate(rows):
            if row.href is None:
                continue
            chip_id = row.spec.chip_id
            stamp = payloads.stamp(row.href)
            payload = payloads.read(row.href)
            damage = _damage(row, row.href, payload, payloads)
            if damage is None and stamp is not None and row.outcome.checksum is not None:
                recorded[chip_id] = RecordedStamp(row.outcome.checksum, stamp)
            elif damage is not None and not _is_any(payload, unpublished[chip_id]):
                damaged.append(ChipFailure(chip_id, "corrupt", damage))
                rows[position] = CatalogRow(row.spec, corrupt(row.outcome, damage, clock), None)
        checked = sum(row.href is not None for row in rows) + len(damaged)
        with writing(paths.catalog):
            write_stamps(paths.stamps, recorded)
            if damaged:
                write_catalog(paths.catalog, rows, collection)
    return VerifyReport(checked=checked, corrupt=tuple(damaged))


def _unpublished_checksums(paths: ChipPaths) -> defaultdict[str, set[str | None]]:
    """Return by id what a dead run has already replaced chips by; the next run publishes them."""
    found: defaultdict[str, set[str | None]] = defaultdict(set)
    for journal in pending_journals(paths.journals):
        for record in read_journal(journal):
            if record.outcome.status == "ok":
                found[record.chip_id].add(record.outcome.checksum)
    return found


def _is_any(payload: bytes | None, checksums: Collection[str | None]) -> bool:
    return payload is not None and any(agrees(payload, checksum) for checksum in checksums)


def _damage(row: CatalogRow, href: str, payload: bytes | None, payloads: Payloads) -> str | None:
    """Return what is wrong with a payload, if anything is."""
    if payload is None:
        return "its file is missing"
    if len(payload) != row.outcome.size:
        return f"its file has {len(payload)} bytes instead of {row.outcome.size}"
    if not agrees(payload, row.outcome.checksum):
        return "its file has another checksum"
    try:
        decode_chip(payload, payloads.expected(href, payload, row.spec.geobox))
    except ReadError as error:
        return publishable(str(error))
    return None
