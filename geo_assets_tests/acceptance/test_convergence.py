"""Materializing converges: what is sound is left alone, what is damaged or failed comes back."""

from __future__ import annotations

import os

import dagster as dg
import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geom import point

from geo_assets.build import build_defs
from geo_assets.campaign_file import load_campaign
from geo_assets.commands.verify import verify_campaign
from geo_assets.jobs import AREAS_AND_CHIPS
from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets.resources import Results
from geo_assets_tests.acceptance.support import (
    Reads,
    chip_files,
    fingerprints,
    materialize,
    metadata_of,
    rows_of,
    watched_imagery,
)

ALL = "north|train...south|test"
K = 4


@pytest.fixture
def campaign():
    return load_campaign("demo")


@pytest.fixture
def copy(demo, tmp_path):
    """A copy of what the demo left behind, to be damaged."""
    return demo.place.copy(tmp_path / "copy")


def test_materializing_again_rewrites_no_chip(copy, campaign):
    before = fingerprints(chip_files(copy, campaign))
    assert len(before) > 100
    process = copy.materialize("demo/chip_catalog", ALL)
    assert process.returncode == 0, process.stderr
    assert fingerprints(chip_files(copy, campaign)) == before


def test_copied_results_are_the_same_results(demo, copy, campaign):
    """Copying gives every file another time; what is in them has not changed."""
    before = {file: stamp for file, (stamp, _) in fingerprints(chip_files(copy, campaign)).items()}
    result = materialize(campaign, copy, ("chip_catalog",))
    asked = {
        key: metadata["asked"]
        for key, metadata in metadata_of(result, campaign, "chip_catalog").items()
    }
    still_failed = {
        key: sum(row.outcome.status == "failed" for row in rows)
        for key, rows in rows_of(demo.place, campaign).items()
    }
    assert asked == still_failed
    assert {file: file.stat().st_mtime_ns for file in chip_files(copy, campaign)} == before


def test_verify_names_just_the_damaged_chips_and_the_next_run_restores_just_them(copy, campaign):
    before = fingerprints(chip_files(copy, campaign))
    damaged = np.random.default_rng(10).choice(sorted(before), 10, replace=False).tolist()
    for file in damaged[:5]:
        file.unlink()
    for file in damaged[5:8]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for file in damaged[8:]:
        flip_a_bit(file)

    process = copy.run("geo-assets", "verify")
    assert process.returncode == 1
    named = {
        line.split()[2].rstrip(":")
        for line in process.stdout.splitlines()
        if line.startswith("corrupt ")
    }
    assert named == {file.stem for file in damaged}
    assert f"{len(before)} chips read and hashed, 10 corrupt" in process.stdout

    process = copy.materialize("demo/chip_catalog", ALL)
    assert process.returncode == 0, process.stderr
    after = fingerprints(chip_files(copy, campaign))
    assert {file: content for file, (_, content) in after.items()} == {
        file: content for file, (_, content) in before.items()
    }
    rewritten = {file for file in after if after[file][0] != before[file][0]}
    assert rewritten == set(damaged)
    reports = verify_campaign(campaign, copy.layout(campaign)).reports.values()
    assert [report.corrupt for report in reports] == [()] * len(reports)


def flip_a_bit(file):
    """Flip one bit in the middle; size and time stay as they were."""
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=times)


# ------------------------------------------------------------------------------ a failing source


@pytest.fixture(scope="module")
def with_failures(fields, tmp_path_factory):
    """The small campaign from scratch, its source failing over the middle of k chosen chips.

    A read that fails is narrowed down to 64 pixels; a chip of 128 holds such a leaf around its
    middle whole, so that no neighbour is touched.
    """
    campaign = fields.campaign
    # Where the archive's own damage fails no chip, so that every failure is the test's.
    sound = {
        key: rows
        for key, rows in rows_of(fields.place, campaign).items()
        if all(row.outcome.status == "ok" for row in rows)
    }
    chips = [
        (key, row) for key, rows in sound.items() for row in rows if is_inside(fields, key, row)
    ]
    chosen = [chips[n] for n in np.random.default_rng(5).choice(len(chips), K, replace=False)]
    middles = [middle_of(row.spec.geobox) for _, row in chosen]

    def over_a_middle(geobox):
        return any(geobox.extent.contains(middle.to_crs(geobox.crs)) for middle in middles)

    place = type(fields.place)(tmp_path_factory.mktemp("failing"))
    place.place_archive(fields.place.data / "simulated_archive/seed-7")
    imagery = watched_imagery(Reads(), over_a_middle)
    materialize(campaign, place, AREAS_AND_CHIPS, imagery=imagery)
    return place, {row.spec.chip_id: key for key, row in chosen}


def is_inside(fields, key, row):
    """Whether the middle of a chip lies in its composite."""
    layout = fields.place.layout(fields.campaign)
    path = layout.composite_image(*fold_and_split(key), row.spec.cluster)
    with rasterio.open(path) as image:
        return shapely.box(*image.bounds).contains(middle_of(row.spec.geobox).geom)


def middle_of(geobox):
    x, y = geobox.affine @ (geobox.shape.x / 2 + 0.5, geobox.shape.y / 2 + 0.5)
    return point(x, y, geobox.crs)


def test_just_the_chips_that_the_source_fails_are_failed(with_failures, fields):
    place, chosen = with_failures
    rows = [row for rows in rows_of(place, fields.campaign).values() for row in rows]
    failed = {row.spec.chip_id for row in rows if row.outcome.status == "failed"}
    there = {
        row.spec.chip_id
        for rows in rows_of(fields.place, fields.campaign).values()
        for row in rows
        if row.outcome.status == "failed"
    }
    assert len(chosen) == K
    assert failed - there == set(chosen)
    assert there <= failed


def test_the_sensor_requests_just_their_partitions(with_failures, fields):
    place, chosen = with_failures
    resources = {"results": Results(data=str(place.data))}
    defs = build_defs(fields.campaign, resources)
    sensor = defs.get_sensor_def("failed_chips_sensor")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources=resources, definitions=defs)
        asked = sensor(context).run_requests
        retryable = {
            key
            for key, rows in rows_of(place, fields.campaign).items()
            for row in rows
            if row.outcome.status == "failed" and row.outcome.error_kind != "permanent"
        }
        assert {request.partition_key for request in asked} == retryable
        assert set(chosen.values()) <= retryable
        assert retryable < set(partition_keys(fields.campaign))


def test_the_next_run_reads_just_the_failed_chips_again(with_failures, fields, tmp_path):
    place, chosen = with_failures
    place = place.copy(tmp_path / "copy")
    before = fingerprints(chip_files(place, fields.campaign))
    reads = Reads()
    keys = sorted(set(chosen.values()))
    made = {}
    for key in keys:
        result = materialize(
            fields.campaign, place, ("chip_catalog",), keys=[key], imagery=watched_imagery(reads)
        )
        made |= metadata_of(result, fields.campaign, "chip_catalog")
    assert sum(metadata["asked"] for metadata in made.values()) == K
    assert all(metadata["failed"] == 0 for metadata in made.values())
    # The windows that were read are k, one in each chip.
    windows = {geobox for _, geobox in reads.asked}
    assert len(windows) == K
    after = fingerprints(chip_files(place, fields.campaign))
    assert {file.stem for file in set(after) - set(before)} == set(chosen)
    assert {file: after[file] for file in before} == before
    healed = {file.stem: content for file, (_, content) in after.items()}
    sound = {
        file.stem: content
        for file, (_, content) in fingerprints(chip_files(fields.place, fields.campaign)).items()
    }
    assert {chip: healed[chip] for chip in chosen} == {chip: sound[chip] for chip in chosen}
