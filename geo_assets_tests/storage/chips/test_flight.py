"""Chips in flight: each is put once, and what landed before an error is put as well."""

from __future__ import annotations

import threading

import pytest

from geo_assets.core.chips import ChipOutcome
from geo_assets.storage.chips import flight
from geo_assets.storage.chips.flight import ChipFlight, LandedChip
from geo_assets_tests.storage.chips.chip_testing import NOON, some_specs

COUNT = 40


def landed(spec, payload=b"chip"):
    return LandedChip(spec, ChipOutcome("ok", 1, NOON, len(payload)), payload)


def any_eight(waiting, *, must):  # noqa: ARG001  # of the protocol
    return list(waiting)[:8]


def fly(work, *, workers, put=None, progress=None, batch=any_eight):
    """Let chips fly; return the ids that were put, in their order."""
    done = []
    ChipFlight(
        some_specs(COUNT),
        work,
        put or (lambda batch: done.extend(chip.spec.chip_id for chip in batch)),
        batch,
        workers,
        progress,
    ).run()
    return done


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("turn_bytes", [1, 10, 4 * 2**20])
def test_every_chip_is_put_once_however_long_a_turn_is(monkeypatch, workers, turn_bytes):
    monkeypatch.setattr(flight, "_TURN_BYTES", turn_bytes)
    calls = []
    done = fly(landed, workers=workers, progress=lambda done, total, _: calls.append((done, total)))
    assert sorted(done) == sorted(spec.chip_id for spec in some_specs(COUNT))
    assert calls == [(number, COUNT) for number in range(1, COUNT + 1)]


def test_chips_wait_for_others_only_while_they_are_few(monkeypatch):
    """As those of a shard do of which one chip hangs."""
    monkeypatch.setattr(flight, "_TURN_BYTES", 1)
    monkeypatch.setattr(flight, "_MOST_WAITING_BYTES", 8 * len(b"chip"))
    seen = []

    def batch(waiting, *, must):
        seen.append(len(waiting))
        return list(waiting) if must else ()

    done = fly(landed, workers=2, batch=batch)
    assert sorted(done) == sorted(spec.chip_id for spec in some_specs(COUNT))
    assert max(seen) <= 8 + 2 * 2


def test_what_landed_before_an_error_is_put_and_nothing_is_begun_after_it():
    specs, begun, done = some_specs(COUNT), [], []

    def work(spec):
        begun.append(spec)
        if len(begun) == 5:
            raise RuntimeError("out of paper")
        return landed(spec)

    with pytest.raises(RuntimeError, match="out of paper"):
        fly(work, workers=1, put=done.extend)
    assert [chip.spec for chip in done] == specs[:4]
    assert len(begun) == 5


def test_threads_end_their_turn_when_putting_failed():
    begun, failed = [], threading.Event()

    def work(spec):
        begun.append(spec)
        if len(begun) > 1:
            assert failed.wait(timeout=30)
        return landed(spec, bytes(flight._TURN_BYTES))

    def put(batch):  # noqa: ARG001  # as it is called
        failed.set()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fly(work, workers=1, put=put)
    assert len(begun) < COUNT
