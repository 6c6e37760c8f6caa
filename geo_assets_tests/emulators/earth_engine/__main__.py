"""A loopback Earth Engine for a person: ``python -m geo_assets_tests.emulators.earth_engine``."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geo_assets_tests.emulators.earth_engine.assets import Assets
from geo_assets_tests.emulators.earth_engine.canned import VALID, LatticePixels, StaticPixels
from geo_assets_tests.emulators.earth_engine.faults import CHIP_FAULTS, FaultKind, FaultPlan
from geo_assets_tests.emulators.earth_engine.quota import Rate
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

if TYPE_CHECKING:
    from types import FrameType


def _table(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> object:
    tables = {}
    for pair in pairs:
        asset_id, found, file = pair.partition("=")
        if not found or not Path(file).is_file():
            raise click.BadParameter(f"{pair!r} is not ID=FILE with a file that exists")
        tables[asset_id] = Path(file)
    return tables


@click.command(context_settings={"show_default": True})
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="0: a free port.")
@click.option(
    "--stac",
    type=click.Path(exists=True, path_type=Path),
    help="Static STAC catalog whose rasters become the collection.",
)
@click.option("--collection", default="LOOPBACK/IMAGERY", help="Id of the collection.")
@click.option("--table", "tables", multiple=True, callback=_table, help="ID=FILE of polygons.")
@click.option(
    "--canned",
    type=click.Choice(["static", "lattice"]),
    help="Pixels that no raster stands behind: always the same, or a hash of their place.",
)
@click.option("--canned-size", type=click.IntRange(1), default=256, help="Side, for static.")
@click.option("--canned-bands", default=f"B2,B3,B4,B8,{VALID}", help="Names, by commas.")
@click.option("--canned-dtype", default="uint16")
@click.option(
    "--faults", "share", type=click.FloatRange(0, 1), default=0.0, help="Share of chips that fail."
)
@click.option(
    "--fault-kinds",
    default=",".join(CHIP_FAULTS),
    help=f"Of {', '.join(FaultKind)}; by commas.",
)
@click.option("--tries", type=click.Choice(["first", "all", "every"]), default="first")
@click.option("--seed", type=int, default=0)
@click.option("--latency", type=click.FloatRange(0), default=0.0, help="Seconds a request.")
@click.option("--cap", type=click.IntRange(1), default=40, help="Requests at once.")
@click.option("--rate", type=click.IntRange(1), help="Requests a minute; default: no quota.")
@click.option("--free-slots-late", is_flag=True, help="Count a request until its answer has left.")
def main(
    *,
    port: int,
    stac: Path | None,
    collection: str,
    tables: dict[str, Path],
    canned: str | None,
    canned_size: int,
    canned_bands: str,
    canned_dtype: str,
    share: float,
    fault_kinds: str,
    tries: str,
    seed: int,
    latency: float,
    cap: int,
    rate: int | None,
    free_slots_late: bool,
) -> None:
    """Serve a loopback Earth Engine until SIGINT or SIGTERM."""
    # Megabytes; GDAL would take a twentieth of the machine, and many a service runs beside others.
    os.environ.setdefault("GDAL_CACHEMAX", "64")
    assets = Assets()
    if stac is not None:
        assets.add_stac(collection, stac)
    for asset_id, file in tables.items():
        assets.add_table(asset_id, file)
    plan = {"share": share, "kinds": fault_kinds.split(","), "tries": tries, "seed": seed}
    try:
        faults = FaultPlan.from_dict(plan)
    except ValueError as error:
        raise click.UsageError(f"faults: {error}") from error
    bands = tuple(canned_bands.split(","))
    pixels = {
        None: None,
        "static": StaticPixels(canned_size, canned_size, bands, canned_dtype),
        "lattice": LatticePixels(bands, canned_dtype),
    }[canned]

    leave = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        leave.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with EarthEngineEmulator(
        assets,
        canned=pixels,
        latency_s=latency,
        cap=cap,
        rate=None if rate is None else Rate(rate, 60.0),
        faults=faults,
        free_slots_late=free_slots_late,
        port=port,
    ) as emulator:
        click.echo(
            f"{emulator.url}  point geo-assets at it:"
            f" export GEO_ASSETS_EE_URL={emulator.url} GEO_ASSETS_EE_PROJECT={emulator.project}"
        )
        leave.wait()


if __name__ == "__main__":
    main(prog_name="python -m geo_assets_tests.emulators.earth_engine")
