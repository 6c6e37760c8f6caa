"""One run of a storm in a process of its own: what tests start twice at once, or kill.

python -m geo_assets_tests.acceptance.storm_run '{"folder": …, "url": …, …}'
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from geo_assets_tests.acceptance.storm_support import PATIENT, Storm, area


def storm_of(values: dict[str, Any]) -> Storm:
    """Build a storm of JSON."""
    return Storm(
        Path(values["folder"]),
        values["url"],
        area(values["rows"], values["cols"], values["size"]),
        values["size"],
        Path(values["limits"]),
        replace(PATIENT, concurrency=values["concurrency"]),
    )


def start(**values: Any) -> subprocess.Popen[str]:
    """Start a run."""
    asked = json.dumps({name: str(v) if isinstance(v, Path) else v for name, v in values.items()})
    return subprocess.Popen(
        [sys.executable, "-m", "geo_assets_tests.acceptance.storm_run", asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.stdout.write(f"{storm_of(asked).run(threads=asked['threads']).ok}\n")
