"""What the service allows is kept: by one run, by two at once, while it fails, after a kill."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, replace

import pytest

from geo_assets.errors import SourceError
from geo_assets.storage.atomic import is_temporary
from geo_assets_tests.acceptance import storm_run
from geo_assets_tests.acceptance.storm_support import (
    PATIENT,
    PIXELS,
    Storm,
    area,
    key_of,
    storm_assets,
)
from geo_assets_tests.acceptance.support import say
from geo_assets_tests.emulators.earth_engine.faults import FaultKind, FaultPlan
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

SIZE = 16
KILLS, ALL_KILLS = 8, 30


def serve(box, **values):
    return EarthEngineEmulator(storm_assets(box), canned=PIXELS, **values)


def test_two_runs_at_once_share_what_the_service_allows(tmp_path):
    rows, cols = 20, 25
    with serve(area(rows, cols, SIZE), latency_s=0.1, cap=40) as emulator:
        runs = [
            storm_run.start(
                folder=tmp_path / name,
                url=emulator.url,
                rows=rows,
                cols=cols,
                size=SIZE,
                limits=tmp_path,
                concurrency=concurrency,
                threads=50,
            )
            for name, concurrency in (("one", 38), ("other", 30))
        ]
        said = [run.communicate() for run in runs]
        assert [run.returncode for run in runs] == [0, 0], said
        assert [out.strip() for out, _ in said] == [str(rows * cols)] * 2
        asked = emulator.ledger.requests_by_chip()
        assert asked == dict.fromkeys(asked, 2), "each run asks each chip once"
        say(f"\ntwo runs of 38 and 30: at most {emulator.max_in_flight} requests in flight")
        assert emulator.max_in_flight <= 38
        assert emulator.slots.refused == 0


def test_a_server_that_frees_slots_late_refuses_nothing_at_the_default_limit(tmp_path):
    """The service's own cap, and a slot that is free only when its answer has left."""
    box = area(20, 50, SIZE)
    with serve(box, latency_s=0.02, cap=40, free_slots_late=True) as emulator:
        storm = Storm(tmp_path, emulator.url, box, SIZE, tmp_path, replace(PATIENT, concurrency=38))
        assert storm.run(threads=60).ok == 1000
        say(f"\nslots freed late: at most {emulator.max_in_flight} in flight at a limit of 38")
        assert emulator.slots.refused == 0
        assert emulator.max_in_flight <= 40


def test_nobody_asks_anything_before_retry_after(tmp_path):
    box = area(10, 10, SIZE)
    faults = FaultPlan(
        share=0.05, kinds=[FaultKind.THROTTLED_RETRY_AFTER], seed=2, retry_after_s=0.5
    )
    with serve(box, faults=faults) as emulator:
        # One at a time: no other request is on its way when the service asks for the wait.
        storm = Storm(tmp_path, emulator.url, box, SIZE, tmp_path, replace(PATIENT, concurrency=1))
        assert storm.run(threads=8).ok == 100
        waits = emulator.ledger.waits()
    assert len(waits) >= 3
    for wait in waits:
        assert wait.same_chip_s is None or wait.same_chip_s >= wait.retry_after_s
        assert wait.any_chip_s is None or wait.any_chip_s >= wait.retry_after_s


@dataclass
class Outage(FaultPlan):
    """The first requests fail, whoever sends them."""

    requests: int = 0
    seen: int = 0

    def pick(self, key, attempt):  # noqa: ARG002  # whichever chip, whichever try
        self.seen += 1
        return FaultKind.UNAVAILABLE if self.seen <= self.requests else None


def test_the_breaker_opens_after_ten_straight_failures_and_recovers(tmp_path):
    box, rest_s = area(5, 5, SIZE), 1.0
    outage = Outage(requests=12)
    with serve(box, faults=outage) as emulator:
        policy = replace(PATIENT, concurrency=1, breaker_rest_s=rest_s, attempts=20, retry_floor=50)
        storm = Storm(tmp_path, emulator.url, box, SIZE, tmp_path, policy)
        assert storm.run(threads=8).ok == 25
        entries = sorted(emulator.ledger.entries, key=lambda entry: entry.arrived_s)
    assert [entry.status for entry in entries] == [503] * 12 + [200] * 25
    gaps = [after.arrived_s - before.answered_s for before, after in itertools.pairwise(entries)]
    # The tenth failure opens it; the eleventh and twelfth request are lonely probes.
    assert min(gaps[9:12]) >= rest_s * 0.99
    assert max(gaps[:9] + gaps[12:]) < rest_s
    assert storm.traffic.breaker_state == "closed"


def test_expired_credentials_end_the_run_once(tmp_path):
    box = area(20, 20, SIZE)
    with serve(box, latency_s=0.02) as emulator:
        emulator.faults = FaultPlan(share=1, kinds=[FaultKind.UNAUTHENTICATED], tries="all")
        storm = Storm(tmp_path, emulator.url, box, SIZE, tmp_path, replace(PATIENT, concurrency=4))
        with pytest.raises(SourceError, match="earthengine authenticate"):
            storm.run(threads=8)
        assert not storm.store.paths.catalog.exists()
        # Those in flight when the first was refused, not four hundred.
        assert len(emulator.ledger.entries) <= 2 * 8
        emulator.faults = FaultPlan()
        assert storm.run(run_id="signed-in-again").ok == 400


@pytest.mark.timeout(1800)
def test_one_more_run_after_a_kill_asks_only_what_was_under_way_again(tmp_path, full):
    rows, cols, concurrency, threads = 12, 15, 8, 12
    box = area(rows, cols, SIZE)
    draw = random.Random(5)  # noqa: S311  # moments of a test, no secret
    kills = missing = 0
    # Answers come slowly beside what it takes to sync a chip: few wait for that when a run dies.
    with serve(box, latency_s=0.2) as emulator:
        for number in range(ALL_KILLS if full else KILLS):
            emulator.ledger.reset()
            folder = tmp_path / str(number)
            run = storm_run.start(
                folder=folder,
                url=emulator.url,
                rows=rows,
                cols=cols,
                size=SIZE,
                limits=tmp_path,
                concurrency=concurrency,
                threads=threads,
            )
            chips = folder / "storm/chips"
            while next(chips.rglob("*.npy"), None) is None:
                assert run.poll() is None, run.stderr.read()
            # 180 chips, 8 at a time, 200 ms each: four and a half seconds.
            time.sleep(draw.uniform(0, 4))
            run.kill()
            run.communicate()
            kept = {path.stem for path in chips.rglob("*.npy") if not is_temporary(path.name)}
            kills += 1
            missing += len(kept) < rows * cols

            storm = Storm(folder, emulator.url, box, SIZE, tmp_path)
            report = storm.run(run_id="next")
            assert report.ok == rows * cols
            assert storm.wrong(storm.rows()) == []
            assert [path for path in folder.rglob("*") if is_temporary(path.name)] == []
            asked = emulator.ledger.requests_by_chip()
            assert set(asked) == {key_of(row.spec) for row in storm.rows()}
            assert [entry for entry in emulator.ledger.entries if asked[entry.key] > 2] == []
            # Those being asked, and those whose answers wait for the disk, more where that is busy.
            assert sum(count == 2 for count in asked.values()) <= 2 * threads
    say(f"\n{kills} kills, {missing} of them with chips missing")
    assert missing >= kills // 2, "kills came too late to interrupt anything"
