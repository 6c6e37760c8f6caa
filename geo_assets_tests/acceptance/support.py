"""What the acceptance tests share: places to work in, campaigns, runs, and looks at results."""

from __future__ import annotations

import hashlib
import os
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.build import build_defs
from geo_assets.campaign_file import load_campaign
from geo_assets.errors import ReadError
from geo_assets.jobs import EVERYTHING
from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets.resources import ImagerySource, Results
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from odc.geo.geobox import GeoBox

    from geo_assets.campaign import Campaign
    from geo_assets.storage.chips.catalog_table import CatalogRow

TEMPLATES = Path(__file__).resolve().parents[1] / "campaigns"
ARCHIVE = "simulated_archive/seed-7"
COMMANDS = Path(sys.executable).parent


@dataclass(frozen=True)
class Workplace:
    """A folder with results and a Dagster home of its own, as a user has them."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    """What else the environment of its commands holds."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environment(self, campaign: Path | str = "demo") -> dict[str, str]:
        return os.environ | {
            "GEO_ASSETS_DATA": str(self.data),
            "GEO_ASSETS_CAMPAIGN": str(campaign),
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "COLUMNS": "200",
            **self.variables,
        }

    def words(self, program: str, *arguments: str) -> list[str]:
        return [str(COMMANDS / program), *arguments]

    def run(
        self, program: str, *arguments: str, campaign: Path | str = "demo"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user would."""
        self.home.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            self.words(program, *arguments),
            env=self.environment(campaign),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def materialize(
        self, selection: str, partition: str, campaign: Path | str = "demo"
    ) -> subprocess.CompletedProcess[str]:
        """``dagster asset materialize`` for one partition, or for a range ``first...last``."""
        option = "--partition-range" if "..." in partition else "--partition"
        return self.run(
            *("dagster", "asset", "materialize", "-m", "geo_assets.definitions"),
            *("--select", selection, option, partition),
            campaign=campaign,
        )

    def layout(self, campaign: Campaign) -> Layout:
        return Layout(self.data, campaign.name)

    def place_archive(self, archive: Path) -> None:
        """Put a copy of the simulated archive where campaigns look for it.

        Files are linked: repairs and publications replace files, they never change one in place.
        """
        shutil.copytree(archive, self.data / ARCHIVE, copy_function=os.link)

    def copy(self, folder: Path) -> Workplace:
        """Return a workplace with the same results; only the archive's files are shared."""
        shutil.copytree(
            self.data, folder / "data", ignore=shutil.ignore_patterns("simulated_archive")
        )
        if (self.data / ARCHIVE).is_dir():
            Workplace(folder).place_archive(self.data / ARCHIVE)
        return Workplace(folder)


def render(template: str, folder: Path, **values: object) -> Path:
    """Write a campaign of ``geo_assets_tests/campaigns`` with its values filled in."""
    text = (TEMPLATES / f"{template}.yaml").read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{template}.yaml"
    words = {name: str(value) for name, value in values.items()}
    path.write_text(string.Template(text).substitute(words), encoding="utf-8")
    return path


def materialize(
    campaign: Campaign | Path,
    place: Workplace,
    assets: tuple[str, ...] | None = None,
    *,
    keys: list[str] | None = None,
    imagery: ImagerySource | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialize assets (all by default) for a range of partitions (all) in this process."""
    campaign = load_campaign(str(campaign)) if isinstance(campaign, Path) else campaign
    resources: dict[str, object] = {"results": Results(data=str(place.data))}
    if imagery is not None:
        resources["imagery"] = imagery
    defs = build_defs(campaign, resources)
    keys = keys or partition_keys(campaign)
    with dg.DagsterInstance.ephemeral() as instance:
        return defs.resolve_job_def(EVERYTHING).execute_in_process(
            instance=instance,
            asset_selection=assets and [dg.AssetKey([campaign.name, name]) for name in assets],
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            },
        )


def metadata_of(
    result: dg.ExecuteInProcessResult, campaign: Campaign, asset: str
) -> dict[str, dict[str, Any]]:
    """Return, by partition key, the metadata that a run recorded for an asset."""
    return {
        event.partition: {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey([campaign.name, asset])
    }


def rows_of(place: Workplace, campaign: Campaign) -> dict[str, list[CatalogRow]]:
    """Return the rows of each partition's chip catalog, by partition key."""
    layout = place.layout(campaign)
    return {
        key: read_rows(layout.chip_catalog(*fold_and_split(key)))
        for key in partition_keys(campaign)
    }


def chip_files(place: Workplace, campaign: Campaign) -> list[Path]:
    """Return every chip's file, in order."""
    return files_below(place.layout(campaign).folder / "chips")


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def fingerprints(files: list[Path]) -> dict[Path, tuple[int, str]]:
    """Return the time of change and the checksum of each file."""
    return {path: (path.stat().st_mtime_ns, digest(path)) for path in files}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def say(text: str) -> None:
    """Show a measured figure; pytest -s lets it be seen."""
    sys.stdout.write(f"{text}\n")


def last_line(text: str) -> str:
    return [line for line in text.splitlines() if line.strip()][-1]


@dataclass
class Reads:
    """The reads of a source: which windows of which scenes."""

    asked: list[tuple[str, GeoBox]] = field(default_factory=list)


class WatchedSource:
    """A real source whose reads are counted, and fail where a test says so."""

    def __init__(self, source: Any, reads: Reads, fails: Callable[[GeoBox], bool]) -> None:
        self._source = source
        self._reads = reads
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, item, bands, geobox, *, scl_band=None):
        self._reads.asked.append((item["id"], geobox))
        if self._fails(geobox):
            raise ReadError("the test's cable is pulled", kind="transient", scene_id=item["id"])
        return self._source.read(item, bands, geobox, scl_band=scl_band)


def watched_imagery(
    reads: Reads, fails: Callable[[GeoBox], bool] = lambda _: False
) -> ImagerySource:
    """Return the resource that opens a campaign's own imagery as a watched source."""

    class WatchedImagery(ImagerySource):
        def open(self, campaign, layout):
            return WatchedSource(super().open(campaign, layout), reads, fails)

    return WatchedImagery()


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had so far; 0 of one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def runs_on(process: subprocess.Popen[bytes], seconds: float = 0.02) -> bool:
    """Let a process go on; whether it still does."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
