"""A service that fails and recovers: the sensor asks again just what failed, and says no secret."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import google.auth.credentials
import pytest

from geo_assets.build import build_defs
from geo_assets.campaign_file import load_campaign
from geo_assets.jobs import EVERYTHING, REDOWNLOAD
from geo_assets.partitions import fold_and_split
from geo_assets.products.chips.specs import geoboxes_of
from geo_assets.resources import Results
from geo_assets.sources.earth_engine import credentials, policy
from geo_assets.sources.earth_engine.pixels import grid_of
from geo_assets.sources.earth_engine.policy import RequestPolicy
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.geoparquet import read_table
from geo_assets_tests.acceptance.earth_engine_support import cashew, serve_assets
from geo_assets_tests.acceptance.storm_support import HURRIED
from geo_assets_tests.acceptance.support import (
    Workplace,
    chip_files,
    files_below,
    fingerprints,
    say,
)
from geo_assets_tests.emulators.earth_engine.faults import CHIP_FAULTS, FaultKind, FaultPlan
from geo_assets_tests.emulators.earth_engine.requests import chip_key
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.campaign import Campaign

pytestmark = pytest.mark.real_data

KEY, OTHER = "fold1|train", "fold1|validation"
STORMY, EXPIRED = "fold2|train", "fold2|validation"
BEFORE = ("labels", "aoi_clusters", "scenes", "composite_image", "chip_grid")
CANARY = "canary-9d1f7c20"
"""A mark in every secret: where it is found, a secret was written down."""


class Tokens(google.auth.credentials.Credentials):
    """Credentials whose every token bears the mark."""

    issued = 0

    def refresh(self, _request):
        self.issued += 1
        self.token = f"ya29.{CANARY}-{self.issued}"
        self.expiry = dt.datetime(2100, 1, 1)  # noqa: DTZ001  # google-auth's own are naive


@dataclass(frozen=True)
class Served:
    """A campaign with a Dagster home, on a service that is asked with credentials."""

    place: Workplace
    path: Path
    campaign: Campaign
    emulator: EarthEngineEmulator
    tokens: Tokens = field(default_factory=Tokens)

    def rows(self, key):
        return read_rows(self.place.layout(self.campaign).chip_catalog(*fold_and_split(key)))

    def failed(self, key):
        return [row for row in self.rows(key) if row.outcome.status == "failed"]

    def asked_as(self, key):
        """What the ledger calls the chips of a partition."""
        grid = read_table(self.place.layout(self.campaign).chip_grid(*fold_and_split(key)))
        return [chip_key(grid_of(geobox)) for geobox in geoboxes_of(grid)]

    def defs(self):
        return build_defs(self.campaign, {"results": Results(data=str(self.place.data))})

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.place.home))

    def materialize(self, key, assets=None, job=EVERYTHING):
        """Materialize one partition, in this process and on the instance of the place."""
        with self.instance() as instance:
            return (
                self.defs()
                .resolve_job_def(job)
                .execute_in_process(
                    instance=instance,
                    partition_key=key,
                    asset_selection=assets
                    and [dg.AssetKey([self.campaign.name, name]) for name in assets],
                    raise_on_error=False,
                )
            )

    def tick(self):
        """Evaluate the sensor once, as the daemon does."""
        defs = self.defs()
        repository = defs.get_repository_def()
        with (
            self.instance() as instance,
            dg.build_sensor_context(
                instance=instance,
                repository_def=repository,
                resources={"results": defs.resources["results"]},
            ) as context,
        ):
            return repository.get_sensor_def("failed_chips_sensor").evaluate_tick(context)


@pytest.fixture(scope="module")
def served(real_data, tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("recovery"))
    path = cashew(place.folder)
    with (
        pytest.MonkeyPatch.context() as patch,
        EarthEngineEmulator(serve_assets(real_data, place.folder)) as emulator,
    ):
        made = Served(place, path, load_campaign(str(path)), emulator)
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
        patch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path_factory.mktemp("limits")))
        # A loopback service is asked without credentials, unless a test insists.
        there = credentials.Connection(emulator.url, "cashew", "tokens", made.tokens)
        patch.setattr(credentials, "find_connection", lambda _: there)
        # Waits are short, because the faults are.
        brief = partial(
            RequestPolicy,
            attempts=3,
            wait_initial_s=0.02,
            wait_max_s=0.3,
            breaker_rest_s=0.1,
        )
        patch.setattr(policy, "RequestPolicy", brief)
        assert place.run("geo-assets", "home").returncode == 0
        yield made


def test_the_sensors_run_asks_just_the_failed_chips_of_just_their_partition(served):
    for key in (KEY, OTHER):
        assert served.materialize(key, BEFORE).success
    chosen = served.asked_as(KEY)[1::5]
    refused = served.asked_as(OTHER)[0]
    served.emulator.faults = FaultPlan(
        script=dict.fromkeys(chosen, [FaultKind.INTERNAL] * 9) | {refused: [FaultKind.PERMISSION]}
    )
    for key in (KEY, OTHER):
        assert served.materialize(key, ("chip_catalog",)).success
    failed = served.failed(KEY)
    assert {chip_key(grid_of(row.spec.geobox)) for row in failed} == set(chosen)
    assert {row.outcome.error_kind for row in failed} == {"transient"}
    assert [row.outcome.error_kind for row in served.failed(OTHER)] == ["permanent"]
    assert all("500" in row.outcome.error for row in failed), failed[0].outcome

    before = fingerprints(chip_files(served.place, served.campaign))
    [request] = served.tick().run_requests
    assert request.partition_key == KEY

    served.emulator.faults = FaultPlan()
    served.emulator.ledger.reset()
    assert served.materialize(request.partition_key, job=REDOWNLOAD).success
    assert {row.outcome.status for row in served.rows(KEY)} == {"ok"}
    assert served.emulator.ledger.requests_by_chip() == dict.fromkeys(chosen, 1)
    after = fingerprints(chip_files(served.place, served.campaign))
    assert {file: after[file] for file in before} == before
    assert len(after) == len(before) + len(chosen)
    assert not served.tick().run_requests
    say(f"\n{len(chosen)} of {len(served.rows(KEY))} chips failed; these alone were asked again")


def test_no_secret_is_written_anywhere(served, tmp_path, monkeypatch, capfd):
    # Some answers hang here, and only here: late on a busy machine, others must not fail for it.
    hurried = partial(policy.RequestPolicy, timeouts=HURRIED.timeouts)
    monkeypatch.setattr(policy, "RequestPolicy", hurried)
    served.emulator.faults = FaultPlan(
        share=0.8, kinds=CHIP_FAULTS, tries="every", seed=5, hang_s=5, retry_after_s=0.2
    )
    assert served.materialize(STORMY).success
    assert served.failed(STORMY), "otherwise no fault was written down"
    assert served.materialize(EXPIRED, BEFORE).success
    served.emulator.faults = FaultPlan(share=1, kinds=[FaultKind.UNAUTHENTICATED], tries="all")
    run = served.materialize(EXPIRED, ("chip_catalog",))
    assert not run.success
    said = "".join(str(event.event_specific_data.error) for event in run.get_step_failure_events())
    assert "run `earthengine authenticate`" in said
    assert served.tokens.issued >= 2, "otherwise no token was sent, or none refused"
    served.emulator.faults = FaultPlan()

    key = tmp_path / "key.json"
    key.write_text(json.dumps(service_account()))
    monkeypatch.setenv("GEO_ASSETS_EE_PROJECT", "cashew")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    doctor = served.place.run("geo-assets", "doctor", campaign=served.path)
    assert "the file key.json, which cannot be used" in doctor.stdout
    out, err = capfd.readouterr()
    written = files_below(served.place.folder)
    databases = [path for path in written if path.suffix == ".db"]
    assert databases
    assert b"fold2|train" in b"".join(path.read_bytes() for path in databases)
    assert CANARY not in out + err + said + doctor.stdout + doctor.stderr
    assert [path for path in written if CANARY.encode() in path.read_bytes()] == []
    say(f"\nno secret in {len(written)} files, {sum(p.stat().st_size for p in written)} bytes")


def service_account():
    """A service account's key whose every secret bears the mark."""
    return {
        "type": "service_account",
        "project_id": "cashew",
        "private_key_id": CANARY,
        "private_key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n",
        "client_email": "chips@cashew.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
