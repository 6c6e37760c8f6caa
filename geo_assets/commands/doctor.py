"""``geo-assets doctor``: what would go wrong in a run, found out before it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from geo_assets.campaign_consistency import label_rules
from geo_assets.campaign_environment import ENV_FILE, HERE, names_in_env_file
from geo_assets.campaign_imagery import (
    EarthEngineImagery,
    RasterImagery,
    SimulatedImagery,
    StacImagery,
)
from geo_assets.campaign_values import ARCHIVE_PREFIX
from geo_assets.commands.home import HOME_VARIABLE
from geo_assets.compute import compute_choice, require_dask
from geo_assets.errors import GeoAssetsError
from geo_assets.storage.disk import RESERVE, free_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout

Grade = Literal["ok", "warning", "error"]
SAFE_CONCURRENCY = 38
"""Requests in flight that stay below the service's limit of 40 however it counts."""

STYLES: dict[Grade, str] = {"ok": "green", "warning": "yellow", "error": "red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    grade: Grade
    what: str
    detail: str


def examine(campaign: Campaign, layout: Layout, folder: Path) -> list[Finding]:
    """Look at everything that a run needs; nothing is downloaded, and nothing written that stays.

    Args:
        campaign: The campaign.
        layout: Where its results go.
        folder: Where its file lies.
    """
    return [
        Finding("ok", "campaign", f"{campaign.name}: {campaign.title or 'no title'}"),
        *_environment(folder),
        *_areas(campaign, layout),
        *_grid(campaign),
        *_imagery(campaign),
        *_labels(campaign),
        *_results(layout),
        _compute(),
        *_home(),
    ]


def print_findings(console: Console, findings: list[Finding]) -> bool:
    """Print a line for each finding; return whether a run can start."""
    for finding in findings:
        mark = (f"{finding.grade:<8}", STYLES[finding.grade])
        console.print(Text.assemble(mark, f"{finding.what}: {finding.detail}"))
    errors = sum(finding.grade == "error" for finding in findings)
    told = "1 error" if errors == 1 else f"{errors} errors"
    console.print(f"\n{told}" if errors else "\nReady.")
    return errors == 0


def _environment(folder: Path) -> Iterator[Finding]:
    """Which names the ``.env`` files that are read set; values may be secrets."""
    here, there = HERE / ENV_FILE, folder / ENV_FILE
    one = here.is_file() and there.is_file() and here.samefile(there)
    for path in (here,) if one else (here, there):
        names = names_in_env_file(path.parent)
        if names:
            yield Finding("ok", "environment", f"{path} sets {', '.join(names)}")


def _areas(campaign: Campaign, layout: Layout) -> Iterator[Finding]:
    from geo_assets.sources.label_files import read_labels

    areas = campaign.areas
    paths = list(areas.files.values()) if areas.files else [Path(str(areas.file))]
    if any(str(path).startswith(ARCHIVE_PREFIX) for path in paths):
        yield Finding("ok", "areas", "come with the simulated archive, written at first use")
        return
    missing = [path for path in paths if not path.exists()]
    if missing:
        for path in missing:
            yield Finding("error", "areas", f"no file {path}; paths are relative to the campaign")
        return
    try:
        checked = read_labels(campaign, layout)
    except GeoAssetsError as error:
        yield Finding("error", "areas", str(error))
        return
    counts = checked.frame.groupby(["fold", "split"]).size()
    text = ", ".join(f"{fold}|{split} {count}" for (fold, split), count in counts.items())
    yield Finding("ok", "areas", f"{len(checked.frame)} polygons: {text}")
    yield Finding("ok", "classes", ", ".join(f"{v} {k}" for k, v in checked.classes.items()))
    for warning in checked.warnings:
        yield Finding("warning", "areas", warning)


def _grid(campaign: Campaign) -> Iterator[Finding]:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    code = campaign.grid.crs
    if code == "auto":
        return
    try:
        yield Finding("ok", "grid", f"{code}, {CRS.from_user_input(code).name}")
    except CRSError:
        yield Finding("error", "grid", f"grid.crs: no such CRS: {code}")


def _imagery(campaign: Campaign) -> Iterator[Finding]:
    imagery = campaign.imagery
    match imagery:
        case SimulatedImagery():
            yield Finding("ok", "imagery", f"simulated archive, seed {imagery.seed}")
        case RasterImagery():
            yield _raster(imagery, campaign.bands)
        case StacImagery():
            yield from _stac(imagery)
        case EarthEngineImagery():
            yield from _earth_engine(campaign, imagery)


def _raster(imagery: RasterImagery, bands: Sequence[str]) -> Finding:
    from geo_assets.sources.local_raster import LocalRasterSource, RasterRules
    from geo_assets.sources.scenes.band_keys import find_band

    name = imagery.file.name
    try:
        item = LocalRasterSource(RasterRules(imagery.file, imagery.date, imagery.band_names)).item
        places = [find_band(item, band) for band in bands]
    except GeoAssetsError as error:
        return Finding("error", "imagery", f"{name}: {error}")
    [image] = {place.asset_key for place in places}
    rows, cols = item["assets"][image]["proj:shape"]
    count = len(item["assets"][image]["bands"])
    crs = item["properties"]["proj:code"] or "a CRS without a code"
    return Finding("ok", "imagery", f"{name}: {count} bands, {cols} × {rows}, {crs}")


def _stac(imagery: StacImagery) -> Iterator[Finding]:
    from geo_assets.sources.stac.services import stac_service

    try:
        service = stac_service(imagery)
    except GeoAssetsError as error:
        yield Finding("error", "imagery", str(error))
        return
    for notice in service.notices:
        yield Finding("warning", "imagery", notice)
    where = service.catalog
    if "://" in where:
        yield Finding("ok", "imagery", f"STAC at {where}, asked when a run starts")
    elif Path(where).is_file():
        yield Finding("ok", "imagery", f"static STAC catalog {where}")
    else:
        yield Finding("error", "imagery", f"no STAC catalog {where}")
    if imagery.signing == "planetary-computer" and not os.environ.get("PC_SDK_SUBSCRIPTION_KEY"):
        yield Finding(
            "warning",
            "credentials",
            "PC_SDK_SUBSCRIPTION_KEY is not set: Planetary Computer signs, but limits the rate",
        )


def _earth_engine(campaign: Campaign, imagery: EarthEngineImagery) -> Iterator[Finding]:
    """What an Earth Engine campaign needs; the service is not asked."""
    from geo_assets.sources.earth_engine.credentials import examine_connection

    cadence = f", cadence {imagery.cadence}" if imagery.cadence else ""
    yield Finding("ok", "imagery", f"Earth Engine, {imagery.collection}{cadence}")
    if "nicfi" in imagery.collection.lower() and not imagery.cadence:
        yield Finding(
            "warning",
            "imagery",
            "imagery.cadence is not set: monthly and biannual basemaps would be mixed; "
            "say monthly or biannual",
        )
    for fine, what, detail in examine_connection(imagery.endpoint):
        yield Finding("ok" if fine else "error", what, detail)
    yield Finding(
        "ok",
        "requests",
        f"up to {imagery.concurrency} in flight and {imagery.requests_per_second:g} a second, "
        "for all runs on this machine together",
    )
    if imagery.concurrency > SAFE_CONCURRENCY:
        yield Finding(
            "warning",
            "requests",
            f"imagery.concurrency: {imagery.concurrency} may exceed the service's 40, which "
            f"counts replies that are still on their way; {SAFE_CONCURRENCY} does not",
        )
    yield from _request_size(campaign)
    if campaign.cube is not None:
        yield Finding("warning", "cube", "has no effect: Earth Engine gives chips, no cubes")
    if campaign.land_cover is not None:
        yield Finding(
            "warning", "land_cover", "has no effect: Earth Engine gives chips, no composites"
        )


def _request_size(campaign: Campaign) -> Iterator[Finding]:
    """Whether a chip fits in one request; of which dtype its pixels are, the scenes will say."""
    from geo_assets.sources.earth_engine.sizes import check_request

    size = campaign.chips.size
    burned_there = campaign.labels.tables is not None
    bands = len(campaign.composite.bands) + burned_there + 1  # validity
    least = 1 if campaign.composite.dtype == "native" else 4
    try:
        check_request(size, size, bands * least, bands)
    except GeoAssetsError as error:
        yield Finding("error", "chips", f"chips.size: {error}")
        return
    try:
        check_request(size, size, bands * 4, bands)
    except GeoAssetsError as error:
        yield Finding("warning", "chips", f"chips.size: of pixels of 4 bytes, {error}")


def _labels(campaign: Campaign) -> Iterator[Finding]:
    """Label rules of which no labels come, or which only the areas can say to be enough."""
    for rules in label_rules(campaign):
        lender, section = rules.model_from, rules.section
        if campaign.cube is None and section != "land_cover":
            if rules != type(rules)():
                told = f"{section} makes nothing without a section 'cube'"
                yield Finding("warning", "labels", told)
        elif (
            lender is not None
            and lender.cluster is None
            and rules.fit == "cluster"
            and campaign.clusters.count > 1
        ):
            yield Finding(
                "warning",
                "labels",
                f"{section}.model_from names no cluster; if {lender.fold}|{lender.split} has "
                "several, each with its own model, it must (or set fit: partition)",
            )


def _results(layout: Layout) -> Iterator[Finding]:
    folder = layout.root
    while not folder.exists():
        folder = folder.parent
    try:
        # Asked by doing it: a system of files of its own (/proc) permits what it then refuses.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".geo-assets-"):
            pass
    except OSError as error:
        reason = error.strerror or error
        yield Finding("error", "results", f"GEO_ASSETS_DATA: cannot write below {folder}: {reason}")
        return
    free = free_bytes(layout.root)
    grade: Grade = "ok" if free > 10 * RESERVE else "warning" if free > RESERVE else "error"
    yield Finding(grade, "results", f"{layout.folder}, {free / 1024**3:.1f} GiB free")


def _compute() -> Finding:
    """Who would do the work; a scheduler is asked who is there, a local cluster is not started."""
    try:
        choice = compute_choice()
        if choice.mode == "threads":
            return Finding("ok", "compute", str(choice))
        require_dask()
        if choice.mode == "local":
            return Finding("ok", "compute", f"{choice}, started for each asset")
        from geo_assets.dask_cluster import examine_cluster

        return Finding("ok", "compute", f"{choice}: {examine_cluster(choice.address)}")
    except GeoAssetsError as error:
        return Finding("error", "compute", str(error))


def _home() -> Iterator[Finding]:
    home = os.environ.get(HOME_VARIABLE)
    if not home:
        yield Finding(
            "warning",
            "Dagster home",
            f"{HOME_VARIABLE} is not set, runs will be forgotten: export {HOME_VARIABLE}="
            '"$PWD/.dagster_home" && geo-assets home',
        )
    elif not Path(home).is_absolute():
        yield Finding("error", "Dagster home", f"{HOME_VARIABLE}={home!r} must be absolute")
    elif not (Path(home) / "dagster.yaml").is_file():
        yield Finding(
            "warning",
            "Dagster home",
            f"{home} holds no dagster.yaml; run geo-assets home where one lies, as in a clone",
        )
    else:
        yield Finding("ok", "Dagster home", home)
