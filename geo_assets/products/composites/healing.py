"""One block of a published composite whose windows could not all be read: they are read again.

How blocks are composed is in ``blocks``; what was healed is published by ``builder``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.errors import ReadError
from geo_assets.products.composites.blocks import BlockTask, compose_block
from geo_assets.products.observations import failed_window
from geo_assets.products.windows import FailedWindow, disjoint_windows, say_the_same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox

    from geo_assets.products.composites.canvas import Part
    from geo_assets.sources.protocol import Item, RasterSource
    from geo_assets.sources.rules import CompositeRules


@dataclass(frozen=True)
class HealTask:
    """A block to be healed: it names what is read and carries no pixels.

    Attributes:
        source: Where pixels come from.
        items: The scenes that may meet the block, and those that could not be read there.
        geobox: The block's pixel grid.
        rules: How they are composed.
        lost: Windows of the block that could not be read.
    """

    source: RasterSource
    items: Sequence[Item]
    geobox: GeoBox
    rules: CompositeRules
    lost: tuple[FailedWindow, ...]


@dataclass(frozen=True, eq=False)
class HealedBlock:
    """What lies in the windows of a block now.

    Attributes:
        patches: Windows of the block that were composed again.
        failed: Windows of the block that cannot be read still.
        changed: Whether these are others than before, so that the patches differ from the image.
    """

    patches: tuple[Part, ...]
    failed: tuple[FailedWindow, ...]
    changed: bool


def heal_block(task: HealTask) -> HealedBlock:
    """Read the windows of a block again that could not be read, and nothing else.

    A scene that is gone is asked first: while it is, its window stays as it is, and reading all
    other scenes there would be in vain.

    Raises:
        SourceError: As ``compose_block``.
    """
    failed: list[FailedWindow] = []
    patches: list[Part] = []
    absent = [window for window in task.lost if window.kind == "permanent"]
    passing = [window for window in task.lost if window.kind != "permanent"]
    still = [again for window in absent if (again := _asked_again(task, window))]
    gone = [window for window in still if window.kind == "permanent"]
    for cell in disjoint_windows(gone):
        failed += [part for window in still if (part := window.within(cell))]
        parts = [part for window in passing if (part := window.within(cell))]
        failed += [again for part in parts if (again := _asked_again(task, part))]
    for cell in disjoint_windows(task.lost, without=gone):
        grid = task.geobox[cell.slices]
        made = compose_block(BlockTask(task.source, task.items, grid, task.rules))
        failed += [window.moved(cell.row, cell.col) for window in made.failed]
        patches.append((cell, made.pixels, made.valid))
    return HealedBlock(tuple(patches), tuple(failed), not say_the_same(failed, task.lost))


def _asked_again(task: HealTask, window: FailedWindow) -> FailedWindow | None:
    """Read a window of its scene alone; None if that goes now, else why it does not.

    None too where the scene is no longer wanted: the rest is composed without it.
    """
    item = next((item for item in task.items if item["id"] == window.scene_id), None)
    if item is None:
        return None
    geobox, rules = task.geobox[window.slices], task.rules
    try:
        task.source.read(item, rules.bands_read, geobox, scl_band=rules.clouds.band)
    except ReadError as error:
        return failed_window(window, item, error)
    return None
