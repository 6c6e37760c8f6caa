"""One chip run as a process of its own, to be killed: folder, run id, number of chips, format."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from geo_assets_tests.storage.chips.chip_testing import a_store, read_well, some_specs


def read_slowly(spec):
    time.sleep(0.002)
    return read_well(spec)


if __name__ == "__main__":
    results, run_id, count, chip_format = sys.argv[1:]
    a_store(Path(results), chip_format).converge(
        some_specs(int(count)), read_slowly, run_id=run_id, workers=3
    )
