"""Proving what is stored: every chip of a partition read, hashed and decoded again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from geo_assets.errors import ReadError
from geo_assets.storage.chips.catalog import CatalogRow, read_rows, write_catalog
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
    from collections.abc import Callable

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
            sha256, damage = _examine(row, row.href, payloads)
            if damage is None and stamp is not None and sha256 is not None:
                recorded[chip_id] = RecordedStamp(sha256, stamp)
            elif damage is not None and (chip_id, sha256) not in unpublished:
                damaged.append(ChipFailure(chip_id, "corrupt", damage))
                rows[position] = CatalogRow(row.spec, corrupt(row.outcome, damage, clock), None)
        checked = sum(row.href is not None for row in rows) + len(damaged)
        with writing(paths.catalog):
            write_stamps(paths.stamps, recorded)
            if damaged:
                write_catalog(paths.catalog, rows, collection)
    return VerifyReport(checked=checked, corrupt=tuple(damaged))


def _unpublished_checksums(paths: ChipPaths) -> set[tuple[str, str | None]]:
    """Return chips that a dead run has already replaced; the next run will publish them."""
    return {
        (record.chip_id, record.outcome.sha256)
        for journal in pending_journals(paths.journals)
        for record in read_journal(journal)
        if record.outcome.status == "ok"
    }


def _examine(row: CatalogRow, href: str, payloads: Payloads) -> tuple[str | None, str | None]:
    """Return the checksum of a payload and what is wrong with it, if anything is."""
    payload = payloads.read(href)
    if payload is None:
        return None, "its file is missing"
    sha256 = hashlib.sha256(payload).hexdigest()
    if len(payload) != row.outcome.size:
        return sha256, f"its file has {len(payload)} bytes instead of {row.outcome.size}"
    if sha256 != row.outcome.sha256:
        return sha256, "its file has another checksum"
    try:
        decode_chip(payload, payloads.expected(href, payload, row.spec.geobox))
    except ReadError as error:
        return sha256, publishable(str(error))
    return sha256, None
