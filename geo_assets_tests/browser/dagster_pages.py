"""Dagster's web pages seen by a headless Chromium, for tests and for the pictures of the docs.

Each process started here is the leader of a group of its own, and exactly that group is ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geo_assets.commands.home import HOME_VARIABLE, prepare_home
from geo_assets.resources import DATA_VARIABLE
from geo_assets_tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATIENCE_SECONDS = 180
"""How long a busy machine may take to load definitions or to draw a page."""

GRAPH_SIZE = (2200, 1400)
"""Smallest window in which the graph's nodes are drawn with all their facts."""

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def chromium() -> str | None:
    """Return the Chromium to use, or None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def dagster_ui(home: Path, data: Path, campaign: str = "demo") -> Iterator[str]:
    """Serve one campaign's pages on a free port of the loopback; yields the address.

    Raises:
        RuntimeError: If the server ends, or its assets are not there in time.
    """
    prepare_home(home, REPOSITORY / "dagster.yaml")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        HOME_VARIABLE: str(home),
        DATA_VARIABLE: str(data),
        "GEO_ASSETS_CAMPAIGN": campaign,
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    log_path = home / "webserver.log"
    with (
        log_path.open("wb") as log,
        _group(
            [*command, "-m", "geo_assets.definitions"], environment, stdout=log, stderr=log
        ) as server,
    ):
        _wait_for_assets(server, address, log_path)
        yield address


def graph_page(address: str, groups: Sequence[str]) -> str:
    """Return the address of the asset graph with these groups unfolded."""
    expanded = ",".join(f"global@global:{group}" for group in groups)
    return f"{address}/asset-groups/~/asset-graph?expanded={expanded}"


def screenshot(page: str, target: Path, size: tuple[int, int] = GRAPH_SIZE) -> None:
    """Write what a page looks like as a PNG of that many pixels (width, height)."""
    _browse(page, size, f"--screenshot={target}")


def dom(page: str, size: tuple[int, int] = GRAPH_SIZE) -> str:
    """Return a page's HTML after its scripts have run."""
    return _browse(page, size, "--dump-dom")


def _browse(page: str, size: tuple[int, int], *wish: str) -> str:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            str(chromium()),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-proxy-server",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
            # The page polls for ever: its clock runs ahead while nothing is loading, then stops.
            "--virtual-time-budget=20000",
            *wish,
            page,
        ]
        with _group(
            command, dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as browser:
            output, _ = browser.communicate(timeout=PATIENCE_SECONDS)
    return output.decode()


@contextmanager
def _group(
    command: Sequence[str], environment: dict[str, str], **streams: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as the leader of a process group, and end that group."""
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, start_new_session=True, **streams
    )
    try:
        yield process
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, how)
                process.wait(timeout=10)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait()


def _wait_for_assets(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Ask until the server knows assets."""
    request = urllib.request.Request(  # noqa: S310  # the loopback's own address
        f"{address}/graphql",
        json.dumps({"query": "{assetNodes {id}}"}).encode(),
        {"Content-Type": "application/json"},
    )
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with _NO_PROXY.open(request, timeout=10) as answer:
                if json.load(answer)["data"]["assetNodes"]:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no assets at {address}:\n{log.read_text()[-3000:]}")
