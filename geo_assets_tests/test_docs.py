"""The documents tell the truth: links resolve, commands exist, keys are named, the example runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib

import dagster as dg
import geopandas
import pytest
import yaml

from geo_assets.build import STEPS, build_defs
from geo_assets.campaign_file import load_campaign
from geo_assets.cli import main
from geo_assets.partitions import partition_keys
from geo_assets.resources import Results
from geo_assets_tests.campaign_tables import PAGE, page_with, tables
from geo_assets_tests.conftest import REPOSITORY

PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")],
    key=lambda page: page.relative_to(REPOSITORY).as_posix(),
)
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchor(heading):
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pages
def test_every_link_resolves(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), f"{page.name}: {target} leads nowhere"
        if heading:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(anchor, headings), f"{page.name}: no heading {target}"


def quoted_commands(text):
    """Lines of indented or fenced code that begin with a command, and inline commands."""
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    for line in lines:
        for command in line.split("#")[0].split("&&"):
            words = command.replace(".venv/bin/", "").split()
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if len(words) > 1 and words[0] in {"make", "geo-assets", "python", "dagster"}:
                yield words


@pages
def test_every_quoted_command_exists(page):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for program, first, *rest in quoted_commands(page.read_text(encoding="utf-8")):
        if program == "make":
            assert re.search(rf"^{first}:", makefile, re.MULTILINE), f"no target {first}"
        elif program == "geo-assets" and first != "…":
            assert first in main.commands, f"no command {first}"
            known = {flag for option in main.commands[first].params for flag in option.opts}
            assert {word for word in rest if word.startswith("--")} <= known
        elif program == "python" and first == "-m" and rest[0].startswith("geo_assets"):
            module = REPOSITORY.joinpath(*rest[0].split("."))
            assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()


def test_the_python_example_names_what_the_package_offers():
    import geo_assets

    names = set(re.findall(r"geo_assets\.(open_\w+)", README))
    assert names == {"open_catalog", "open_chip", "open_cube"} == set(geo_assets.__all__)


def test_the_tables_of_campaign_keys_are_those_of_the_models():
    assert PAGE.read_text(encoding="utf-8") == page_with(tables()), (
        "run: python -m geo_assets_tests.campaign_tables"
    )


def test_every_asset_and_every_script_is_named():
    for step in STEPS:
        assert f"`{step.name}`" in README
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["project"]["scripts"]) == {"geo-assets"}


def test_pictures_are_small():
    for picture in (REPOSITORY / "docs" / "images").iterdir():
        assert picture.stat().st_size < 300_000, picture.name


@pytest.fixture(scope="module")
def example():
    """The campaign of the README's first screen."""
    (block,) = re.findall(r"```yaml\n(.+?)```", README, re.DOTALL)
    return block


def test_the_campaign_of_the_readme_has_six_lines_and_is_valid(example, tmp_path):
    (tmp_path / "fields.yaml").write_text(example, encoding="utf-8")
    campaign = load_campaign(str(tmp_path / "fields.yaml"))

    assert len(example.splitlines()) == 6
    assert campaign.areas.file == tmp_path / "fields.geojson"


def test_the_campaign_of_the_readme_runs_on_a_static_catalog(example, archive, tmp_path):
    content = yaml.safe_load(example)
    content["imagery"] = {"kind": "stac", "catalog": str(archive / "catalog.json")}
    (tmp_path / "fields.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    fields = geopandas.read_file(archive / "labels" / "south.geojson").head(2)
    fields.rename(columns={"class": "crop"}).to_file(tmp_path / "fields.geojson")
    campaign = load_campaign(str(tmp_path / "fields.yaml"))
    results = Results(data=str(tmp_path / "data"))
    with dg.DagsterInstance.ephemeral() as instance:
        run = build_defs(campaign, resources={"results": results}).resolve_job_def("everything")
        assert run.execute_in_process(instance=instance, partition_key="all|all").success

    from geo_assets import open_catalog, open_chip

    path = results.layout("fields").chip_catalog("all", "all")
    catalog = open_catalog(path)
    assert set(catalog["status"]) == {"ok"}
    pixels, grid = open_chip(path, catalog["chip_id"].iloc[0])
    assert pixels.shape == (5, *grid.shape)
    assert pixels[-1].any()


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_the_one_key_of_a_campaign_without_folds_is_told_where_runs_are_started(
    page, example, tmp_path
):
    (tmp_path / "fields.yaml").write_text(example, encoding="utf-8")
    assert partition_keys(load_campaign(str(tmp_path / "fields.yaml"))) == ["all|all"]
    assert '--partition "all|all"' in (REPOSITORY / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (["--partition", "north|train"], ["geo_assets.errors.StorageError: "]),
        (
            ["--partition-range", "north|train...south|test"],
            ["geo_assets.errors.StorageError: ", "Failure: chip_grid failed for 6 of 6 partitions"],
        ),
    ],
    ids=["one", "range"],
)
def test_the_lines_that_operations_says_to_show_tell_why_a_run_failed(tmp_path, keys, lines):
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"grep -E '(.+)' run\.log", text)
    (tmp_path / "home").mkdir()
    places = {"DAGSTER_HOME": tmp_path / "home", "GEO_ASSETS_DATA": tmp_path / "data"}
    command = ["-m", "dagster", "asset", "materialize", "-m", "geo_assets.definitions"]
    done = subprocess.run(
        [sys.executable, *command, "--select", "demo/chip_grid", *keys],
        cwd=REPOSITORY,
        env=os.environ
        | {name: str(place) for name, place in places.items()}
        | {"GEO_ASSETS_CAMPAIGN": "demo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    said = (done.stdout + done.stderr).splitlines()
    assert said[-1] == "Error: Materialization failed."
    shown = [line for line in said if re.search(pattern, line)]
    assert shown
    assert all(any(line in each for each in shown) for line in lines)
    assert all(any(line in each for line in lines) for each in shown)


def test_shell_words_of_the_readme_can_be_parsed():
    for line in re.findall(r"^    (\S.*)$", README, re.MULTILINE):
        assert shlex.split(line, comments=True)
