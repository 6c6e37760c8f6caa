"""A real STAC API on the loopback: ``rustac serve`` over given items, in memory.

It answers what pystac-client asks (area, dates, collections, paging). It ignores ``query`` and
``filter`` and answers nothing to them, which it does not advertise either.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def serve_stac_api(
    items: Sequence[dict[str, Any]],
    folder: Path,
    collections: Sequence[dict[str, Any]] = (),
    *,
    port: int | None = None,
) -> Iterator[str]:
    """Serve items on a free port of 127.0.0.1 and give the API's URL; it is stopped at the end.

    Args:
        items: STAC items with absolute hrefs.
        folder: For the files that the server loads at its start and for its log.
        collections: Collections of the items; those that are missing are made from the items.
        port: Port to serve on in place of a free one: the API's, back with more items.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hrefs = [folder / "items.json"]
    hrefs[0].write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    for collection in collections:
        hrefs.insert(0, folder / f"{collection['id']}.json")
        # Links to items would be followed from where this copy lies.
        hrefs[0].write_text(json.dumps({**collection, "links": []}))
    address = f"127.0.0.1:{port or free_port()}"
    rustac = Path(sys.executable).with_name("rustac")
    log = folder / "rustac.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [rustac, "serve", "--addr", address, "--create-collections", *hrefs],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_answers(f"http://{address}", server, log)
        yield f"http://{address}"
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            # It waits for clients that keep their connection; nobody waits for it.
            server.kill()
            server.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(max_retries=Retry(total=10, backoff_factor=0.01)))
    try:
        session.get(url, timeout=5).raise_for_status()
    except requests.RequestException as error:
        msg = f"rustac serve at {url} does not answer: {log.read_text()}"
        raise RuntimeError(msg) from error
    if server.poll() is not None:
        msg = f"rustac serve ended at once, {url} is another server: {log.read_text()}"
        raise RuntimeError(msg)
