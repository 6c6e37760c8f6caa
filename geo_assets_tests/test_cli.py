from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import geo_assets.errors
from geo_assets.campaign_file import campaign_schema
from geo_assets.cli import _readable_errors, main

COMMANDS = {
    *("init", "doctor", "plan", "status", "verify", "export", "export-cube", "compact"),
    *("schema", "home", "demo"),
}
WITH_CAMPAIGN = ["doctor", "plan", "status", "verify", "compact"]


def _run(*arguments):
    return CliRunner(catch_exceptions=False).invoke(main, arguments)


def test_every_command_has_help():
    assert set(main.commands) == COMMANDS
    for name in COMMANDS:
        done = _run(name, "-h")
        assert done.exit_code == 0
        assert main.commands[name].get_short_help_str(200) in " ".join(done.output.split())


def test_the_version_is_the_packages():
    assert _run("--version").output.endswith("version 0.1.0\n")


@pytest.mark.parametrize("name", WITH_CAMPAIGN)
def test_an_unknown_campaign_is_one_readable_line(name):
    done = _run(name, "--campaign", "nowhere")
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: campaign 'nowhere': is not there; allowed is the path of a YAML")


@pytest.mark.parametrize("name", WITH_CAMPAIGN)
def test_a_wrong_campaign_is_told_key_by_key(name, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: [a]\nchips: {size: 1}\n")
    done = _run(name, "--campaign", str(path))
    assert done.exit_code == 1
    assert "mine.yaml: chips.size: must be greater than or equal to 8 (got 1)" in done.stderr
    assert "mine.yaml: name: must be a valid string (got ['a'])" in done.stderr


@pytest.mark.parametrize("arguments", [("fly",), ("doctor", "--fast"), ("init",), ("doctor", "a")])
def test_a_wrong_call_shows_the_usage(arguments):
    done = _run(*arguments)
    assert done.exit_code == 2
    assert "Usage: " in done.stderr


def test_the_schema_is_json():
    done = _run("schema")
    assert done.exit_code == 0
    assert json.loads(done.output) == campaign_schema()


def _errors(kind=geo_assets.errors.GeoAssetsError):
    yield kind
    for below in kind.__subclasses__():
        yield from _errors(below)


@pytest.mark.parametrize("kind", list(_errors()), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_is_a_line_with_its_brackets(kind):
    @click.command()
    @_readable_errors
    def fails():
        needed = [
            name
            for name, each in inspect.signature(kind.__init__).parameters.items()
            if each.kind is each.KEYWORD_ONLY and each.default is each.empty
        ]
        raise kind(
            "a.tif: band 'B99'; allowed are [red] and [/nir]", **dict.fromkeys(needed, "permanent")
        )

    done = CliRunner(catch_exceptions=False).invoke(fails)
    assert done.exit_code == 1
    assert done.stderr == "Error: a.tif: band 'B99'; allowed are [red] and [/nir]\n"


def test_a_bug_shows_itself():
    @click.command()
    @_readable_errors
    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        CliRunner(catch_exceptions=False).invoke(fails)


def test_the_installed_command_is_this_one(tmp_path):
    command = [str(Path(sys.executable).with_name("geo-assets")), "doctor", "-c", "nowhere"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: campaign 'nowhere': is not there")
    assert "Traceback" not in done.stderr
