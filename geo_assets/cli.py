"""``geo-assets``: what Dagster's own commands cannot do. One module of ``commands`` for each.

An error of ours is one readable line and exit status 1; anything else is a bug and shows itself.
"""

from __future__ import annotations

import functools
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout

CAMPAIGN = click.option(
    "--campaign",
    "-c",
    help="Packaged campaign or YAML file; by default what GEO_ASSETS_CAMPAIGN says, else demo.",
)
DATE = click.DateTime(["%Y-%m-%d"])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="geo-assets")
def main() -> None:
    """Satellite imagery and labelled areas become datasets, as one Dagster asset graph.

    GEO_ASSETS_CAMPAIGN names the campaign, GEO_ASSETS_DATA where results go (default: data).
    """


def _readable_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show our own errors as lines instead of a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (GeoAssetsError, OSError) as error:
            # The system's own name the file: a folder that cannot be written, above all.
            raise click.ClickException(str(error)) from error

    return wrapped


def _console() -> Console:
    """A console that does not squeeze tables where the output is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=110)


def _loaded(campaign: str | None) -> tuple[Campaign, Layout]:
    from geo_assets.campaign_file import load_campaign
    from geo_assets.resources import Results

    loaded = load_campaign(campaign)
    return loaded, Results().layout(loaded.name)


@main.command()
@click.argument("area", type=click.Path(path_type=Path))
@click.option("--start", type=DATE, required=True, help="First day of imagery.")
@click.option("--end", type=DATE, required=True, help="Last day of imagery.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Where the campaign goes.")
@click.option("--catalog", help="STAC API or static catalog; default: Earth Search.")
@click.option("--earth-engine", metavar="COLLECTION", help="Earth Engine image collection instead.")
@click.option("--bands", help="Bands, separated by commas; default: B02,B03,B04,B08.")
@click.option("--layer", help="Layer of a file that holds several.")
@_readable_errors
def init(  # noqa: PLR0917  # one parameter for each option
    area: Path,
    start: dt.datetime,
    end: dt.datetime,
    output: Path | None,
    catalog: str | None,
    earth_engine: str | None,
    bands: str | None,
    layer: str | None,
) -> None:
    """Write a campaign of your own from the vector file AREA."""
    from geo_assets.commands.init import CATALOG, write_campaign

    if catalog and earth_engine:
        raise click.UsageError("--catalog and --earth-engine: imagery comes from one of them")
    path = write_campaign(
        area,
        output,
        start.date(),
        end.date(),
        catalog=catalog or CATALOG,
        earth_engine=earth_engine,
        bands=[band.strip() for band in bands.split(",")] if bands else (),
        layer=layer,
    )
    named = shlex.quote(str(path))
    click.echo(f"Wrote {path}\nNext: export GEO_ASSETS_CAMPAIGN={named} && geo-assets doctor")


@main.command()
@CAMPAIGN
@_readable_errors
def doctor(campaign: str | None) -> None:
    """Check a campaign before a run: files, columns, credentials, disk, Dagster home."""
    from geo_assets.campaign_file import find_campaign
    from geo_assets.commands.doctor import examine, print_findings

    loaded, layout = _loaded(campaign)
    findings = examine(loaded, layout, find_campaign(campaign).parent)
    if not print_findings(Console(soft_wrap=True), findings):
        sys.exit(1)


@main.command()
@CAMPAIGN
@_readable_errors
def plan(campaign: str | None) -> None:
    """Say what a run would do: clusters, scenes, chips, reads and bytes."""
    from geo_assets.commands.plan import plan_campaign, print_plan

    loaded, layout = _loaded(campaign)
    print_plan(_console(), loaded, layout, plan_campaign(loaded, layout))


@main.command()
@CAMPAIGN
@_readable_errors
def status(campaign: str | None) -> None:
    """Show what lies on disk for each fold and split."""
    from geo_assets.commands.status import campaign_status, print_status

    loaded, layout = _loaded(campaign)
    if not print_status(_console(), loaded, campaign_status(loaded, layout)):
        sys.exit(1)


@main.command()
@CAMPAIGN
@_readable_errors
def verify(campaign: str | None) -> None:
    """Read and hash every chip again; mark what is corrupt for the next run."""
    from geo_assets.commands.verify import print_report, verify_campaign

    loaded, layout = _loaded(campaign)
    if not print_report(Console(soft_wrap=True), verify_campaign(loaded, layout)):
        sys.exit(1)


@main.command()
@CAMPAIGN
@click.option("--layout", "form", type=click.Choice(["classic"]), required=True, help="Layout.")
@click.option(
    "--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Target folder."
)
@click.option(
    "--start-index",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of the first chip of each fold and split.",
)
@click.option("--fold", help="This fold only.")
@click.option("--split", help="This split only.")
@_readable_errors
def export(  # noqa: PLR0917  # one parameter for each option
    campaign: str | None,
    form: str,
    to: Path,
    start_index: int,
    fold: str | None,
    split: str | None,
) -> None:
    """Copy chips to the folders and names of other tools.

    classic: Chips/DOMAIN/FOLD/SPLIT/DOMAIN_SPLIT_imgs_00042.tif, with a table of what is what.
    """
    from geo_assets.commands.export import export_chips, print_exported

    loaded, results = _loaded(campaign)
    console = Console(soft_wrap=True)
    exported = export_chips(
        loaded,
        results,
        to,
        form=form,
        start_index=start_index,
        fold=fold,
        split=split,
        console=console,
    )
    print_exported(console, exported)


@main.command("export-cube")
@CAMPAIGN
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    required=True,
    help="The store, NAME.zarr, or a folder for it.",
)
@click.option("--fold", required=True, help="Fold of the cube.")
@click.option("--split", required=True, help="Split of the cube.")
@click.option("--cube", default="cluster-0", show_default=True, help="cluster-0, cluster-0-33UUU.")
@click.option("--force", is_flag=True, help="Replace a store that lies there.")
@_readable_errors
def export_cube(  # noqa: PLR0917  # one parameter for each option
    campaign: str | None, to: Path, fold: str, split: str, cube: str, force: bool
) -> None:
    """Copy one cube to a plain Zarr store, whichever store it lies in."""
    from geo_assets.commands.export_cube import export_cube as export

    loaded, results = _loaded(campaign)
    made = export(loaded, results, to, fold=fold, split=split, cube=cube, force=force)
    click.echo(f"Wrote {made}")


@main.command()
@CAMPAIGN
@click.option("--fold", help="This fold only.")
@click.option("--split", help="This split only.")
@click.option("--force", is_flag=True, help="Make copies anew that are up to date.")
@_readable_errors
def compact(campaign: str | None, fold: str | None, split: str | None, force: bool) -> None:
    """Lay each cube a second time, so that the series of a pixel is read at once."""
    from geo_assets.commands.compact import compact_cubes, print_compacted

    loaded, layout = _loaded(campaign)
    print_compacted(_console(), compact_cubes(loaded, layout, fold, split, force=force))


@main.command()
def schema() -> None:
    """Print the JSON schema of a campaign file, for editors."""
    import json

    from geo_assets.campaign_file import campaign_schema

    click.echo(json.dumps(campaign_schema(), indent=2))


@main.command()
@_readable_errors
def home() -> None:
    """Prepare the folder DAGSTER_HOME names, before several processes use it at once."""
    from geo_assets.commands.home import missing_settings, prepare_home

    prepared = prepare_home()
    click.echo(f"Dagster home: {prepared}")
    if notice := missing_settings(prepared):
        click.echo(f"Warning: {notice}", err=True)


@main.command()
@_readable_errors
def demo() -> None:
    """Run the demo campaign, let its archive repair a file, and run it again."""
    from geo_assets.commands.demo import run_demo

    run_demo(_console())
