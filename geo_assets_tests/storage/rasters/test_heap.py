"""Arrays take the memory of those before them, unless the operator wants it back."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from geo_assets_tests.conftest import REPOSITORY

PAGES = 4 * 3 * 2**20 // os.sysconf("SC_PAGE_SIZE")
"""Pages of the arrays of one turn."""
TURNS = """
import resource, sys
import numpy as np
from geo_assets.storage.rasters.heap import keep_freed_memory

def turn():
    arrays = [np.ones(3 * 2**20, np.uint8) for _ in range(4)]

if sys.argv[1:]:
    keep_freed_memory()
turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_of_20_turns(*arguments: str, **said: str) -> int:
    unsaid = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC", "GLIBC"))}
    ran = subprocess.run(
        [sys.executable, "-c", TURNS, *arguments],
        env=unsaid | {"PYTHONPATH": str(REPOSITORY)} | said,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stdout)


def has_huge_pages_for_all() -> bool:
    said = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return said.exists() and "[always]" in said.read_text()


@pytest.mark.skipif(has_huge_pages_for_all(), reason="pages are too large here to be counted")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps by itself")
def test_pages_are_asked_for_once_unless_the_operator_wants_them_back():
    assert pages_of_20_turns() > 10 * PAGES
    assert pages_of_20_turns("keep") < PAGES
    assert pages_of_20_turns("keep", MALLOC_TRIM_THRESHOLD_="65536") > 10 * PAGES
