"""kill -9 at any moment of a chip run: one more run, and nothing is lost or left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from geo_assets.campaign_file import load_campaign
from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets.storage.atomic import is_temporary
from geo_assets.storage.chips.files import check_payload
from geo_assets_tests.acceptance.support import (
    chip_files,
    digest,
    files_below,
    materialize,
    render,
    rows_of,
    say,
)

ALL = "north|train...south|test"
KILLS, ALL_KILLS = 8, 30
CHIP_RUN = (
    *("dagster", "asset", "materialize", "-m", "geo_assets.definitions"),
    *("--select", "fields/chip_catalog", "--partition-range", ALL),
)


@pytest.fixture(scope="module")
def ready(fields, tmp_path_factory):
    """Everything but the chips, which are many here: 64 pixels, overlapping by half."""
    place = fields.place.copy(tmp_path_factory.mktemp("ready"))
    for folder in ("chips", "chip_catalog", "chip_grid", ".state"):
        shutil.rmtree(place.data / "fields" / folder)
    path = render("fields", place.folder, chip_size=64, overlap=0.5)
    materialize(path, place, ("chip_grid",))
    assert place.run("geo-assets", "home").returncode == 0
    return place, path


def start(place, path) -> subprocess.Popen:
    log = (place.folder / "killed.log").open("wb")
    return subprocess.Popen(
        place.words(*CHIP_RUN),
        env=place.environment(path),
        cwd=place.folder,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_for_the_first_chip(place, process) -> float:
    """Watch the folder of chips until the first one lies there; return when that was."""
    chips = place.data / "fields/chips"
    while process.poll() is None:
        if next(chips.rglob("*.tif"), None) is not None:
            return time.monotonic()
    raise AssertionError((place.folder / "killed.log").read_text()[-3000:])


@pytest.fixture(scope="module")
def undisturbed(ready, tmp_path_factory):
    """A run to its end: what it left behind, and the seconds from its first chip on."""
    place, path = ready
    folder = tmp_path_factory.mktemp("undisturbed")
    place = copy_with_home(place, folder)
    process = start(place, path)
    first = wait_for_the_first_chip(place, process)
    assert process.wait() == 0, (place.folder / "killed.log").read_text()[-3000:]
    return place, time.monotonic() - first


def copy_with_home(place, folder):
    copied = place.copy(folder)
    shutil.copytree(place.home, copied.home)
    return copied


def facts(place, campaign):
    """Everything that the catalogs say, but when, and how often failed chips were asked."""
    return {
        key: [(row.spec, timeless(row.outcome), row.href) for row in rows]
        for key, rows in rows_of(place, campaign).items()
    }


def timeless(outcome):
    attempts = outcome.attempts if outcome.status == "ok" else 0
    return replace(outcome, updated=None, attempts=attempts)


def killed(ready, folder, moment: float) -> tuple[bool, int, object]:
    """Kill a run that many seconds after its first chip.

    Returns:
        Whether it still ran then, the chips that lay there, and the place.
    """
    place, path = ready
    place = copy_with_home(place, folder)
    process = start(place, path)
    wait_for_the_first_chip(place, process)
    time.sleep(moment)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running, len(list((place.data / "fields/chips").rglob("*.tif"))), place


@pytest.mark.timeout(1800)
def test_one_more_run_after_a_kill_leaves_nothing_lost_and_nothing_behind(
    ready, undisturbed, full, tmp_path, record_property
):
    campaign = load_campaign(str(ready[1]))
    whole, seconds = undisturbed
    expected = facts(whole, campaign)
    sound = {path.name: digest(path) for path in chip_files(whole, campaign)}
    assert len(sound) > 200
    draw = random.Random(30)  # noqa: S311  # moments of a test, no secret
    moments = [draw.uniform(0, seconds) for _ in range(ALL_KILLS if full else KILLS)]

    def one(number: int):
        return killed(ready, tmp_path / str(number), moments[number])

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(one, range(len(moments))))

    interrupted = [chips for running, chips, _ in ends if running and chips < len(sound)]
    record_property("kills", len(ends))
    record_property("killed_with_chips_missing", len(interrupted))
    say(f"\n{len(ends)} kills, {len(interrupted)} of them with chips missing: {interrupted}")
    assert len(interrupted) >= len(ends) // 4, "kills came too late to interrupt anything"
    for _, _, place in ends:
        assert materialize(campaign, place, ("chip_catalog",)).success
        assert {path.name: digest(path) for path in chip_files(place, campaign)} == sound
        assert facts(place, campaign) == expected
        assert_rows_have_their_files(place, campaign)
        assert [path for path in place.data.rglob("*") if is_temporary(path.name)] == []
        assert files_below(place.layout(campaign).folder / ".state/journal") == []


def assert_rows_have_their_files(place, campaign):
    from geo_assets.assets.chip_sources import chip_store

    layout = place.layout(campaign)
    for key in partition_keys(campaign):
        fold, split = fold_and_split(key)
        store = chip_store(campaign, layout, fold, split)
        for row in rows_of(place, campaign)[key]:
            if row.outcome.status == "ok":
                path = layout.chip_catalog(fold, split).parent / row.href
                assert "1220" + digest(path) == row.outcome.checksum
                check_payload(path.read_bytes(), store.encoding.expect(row.spec.geobox))
