"""Builds a composite in a process of its own and waits, at a stage, to be killed.

    python -m geo_assets_tests.products.composites.composite_run FOLDER STAGE

Stages: ``read`` (in the middle of the pixels), ``between`` (image published, sidecar not).
"""

from __future__ import annotations

import sys
from pathlib import Path

from geo_assets.products.composites import builder as composites
from geo_assets_tests.products.composites.composite_testing import builder_of
from geo_assets_tests.sources.memory_source import MemorySource, grid, random_scene


def wait_to_be_killed(*_):
    print("here", flush=True)  # noqa: T201  # tells the parent that the stage is reached
    sys.stdin.read()


def main(folder, stage):
    source = MemorySource.of(random_scene(9, "new", "2021-06-01", grid(128, 128)))
    if stage == "read":
        source.before_read = wait_to_be_killed
    else:
        composites.publish_json = wait_to_be_killed
    builder_of(source, grid(128, 128)).build(folder / "c.tif", folder / "c.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
