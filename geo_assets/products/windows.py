"""Rectangles of pixels on one grid, and those of a scene that could not be read.

Only geometry of whole pixels lives here; what is read in a window is in ``observations``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from geo_assets.errors import ErrorKind


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels, counted from the upper left of a grid."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    def meets(self, other: Window) -> bool:
        """Whether it shares a pixel with another window of the same grid."""
        return self.within(other) is not None

    def within(self, other: Window) -> Self | None:
        """Return the part that it shares with another window; None if there is none."""
        top, left = max(self.row, other.row), max(self.col, other.col)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.col + self.width, other.col + other.width)
        if top >= bottom or left >= right:
            return None
        return replace(self, row=top, col=left, height=bottom - top, width=right - left)

    def grown(self, pixels: int) -> Self:
        """Return the window with a margin on all sides; it may begin below zero then."""
        return replace(
            self,
            row=self.row - pixels,
            col=self.col - pixels,
            height=self.height + 2 * pixels,
            width=self.width + 2 * pixels,
        )

    def moved(self, rows: int, cols: int) -> Self:
        """Return the same window counted from an origin that many rows and columns earlier."""
        return replace(self, row=self.row + rows, col=self.col + cols)

    def subject(self) -> tuple[str, ...]:
        """What the window says beside its place; only windows that say the same are joined."""
        return ()


@dataclass(frozen=True, order=True)
class FailedWindow(Window):
    """Pixels of one scene that could not be read."""

    scene_id: str
    kind: ErrorKind
    error: str
    """Why, fit to be published: without folders and secrets."""

    def subject(self) -> tuple[str, ...]:
        """The scene, and why it could not be read."""
        return (self.scene_id, self.kind, self.error)


AnyWindow = TypeVar("AnyWindow", bound=Window)


def tiles_of(
    shape: tuple[int, int], size: int | tuple[int, int], position: tuple[int, int] = (0, 0)
) -> list[Window]:
    """Return the windows of at most some size that fill a grid, row by row.

    Args:
        shape: Rows and columns of the grid.
        size: Rows and columns of a window, or pixels a side; those at the edges of the grid may be
            smaller.
        position: Row and column of the grid's upper left on a lattice; the edges of the windows
            lie at whole multiples of their size on that lattice.
    """
    sizes = (size, size) if isinstance(size, int) else size
    rows, cols = (
        [0, *range(step - start % step, length, step), length] if length else []
        for length, step, start in zip(shape, sizes, position, strict=True)
    )
    return [
        Window(top, left, bottom - top, right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(cols)
    ]


def merge_windows(windows: Iterable[AnyWindow]) -> list[AnyWindow]:
    """Return fewer windows over the same pixels: neighbours that say the same are joined.

    First along the rows, then runs of equal columns down the rows. Windows that overlap stay as
    they are; ``disjoint_windows`` parts them. Sorted by what they say, then by place.
    """
    by_subject: defaultdict[tuple[str, ...], list[AnyWindow]] = defaultdict(list)
    for window in set(windows):
        by_subject[window.subject()].append(window)
    merged: list[AnyWindow] = []
    for _, group in sorted(by_subject.items()):
        merged += sorted(_joined_down(_joined_across(group)))
    return merged


def disjoint_windows(windows: Iterable[Window], without: Iterable[Window] = ()) -> list[Window]:
    """Return windows that share no pixel and cover what the given ones cover, and nothing else.

    Args:
        windows: They may overlap.
        without: What is to be left out.
    """
    given, omitted = list(windows), list(without)
    rows = np.unique([edge for w in given + omitted for edge in (w.row, w.row + w.height)])
    cols = np.unique([edge for w in given + omitted for edge in (w.col, w.col + w.width)])
    covered = np.zeros((max(len(rows) - 1, 0), max(len(cols) - 1, 0)), bool)
    for group, wanted in ((given, True), (omitted, False)):
        for window in group:
            top, bottom = np.searchsorted(rows, (window.row, window.row + window.height))
            left, right = np.searchsorted(cols, (window.col, window.col + window.width))
            covered[top:bottom, left:right] = wanted
    return merge_windows(
        Window(
            int(rows[row]),
            int(cols[col]),
            int(rows[row + 1] - rows[row]),
            int(cols[col + 1] - cols[col]),
        )
        for row, col in np.argwhere(covered)
    )


def say_the_same(one: Iterable[AnyWindow], other: Iterable[AnyWindow]) -> bool:
    """Whether windows say the same of the same pixels, however they are cut."""
    return _covered(one) == _covered(other)


def _covered(windows: Iterable[AnyWindow]) -> dict[tuple[str, ...], list[Window]]:
    """Return the pixels of each subject, as windows that depend on nothing else."""
    by_subject: defaultdict[tuple[str, ...], list[Window]] = defaultdict(list)
    for w in windows:
        by_subject[w.subject()].append(Window(w.row, w.col, w.height, w.width))
    return {subject: disjoint_windows(group) for subject, group in by_subject.items()}


def _joined_across(windows: Iterable[AnyWindow]) -> list[AnyWindow]:
    joined: list[AnyWindow] = []
    for window in sorted(windows, key=lambda w: (w.row, w.height, w.col)):
        last = joined[-1] if joined else None
        if (
            last is not None
            and (last.row, last.height) == (window.row, window.height)
            and last.col + last.width == window.col
        ):
            joined[-1] = replace(last, width=last.width + window.width)
        else:
            joined.append(window)
    return joined


def _joined_down(windows: Iterable[AnyWindow]) -> list[AnyWindow]:
    return [_turned(w) for w in _joined_across(_turned(w) for w in windows)]


def _turned(window: AnyWindow) -> AnyWindow:
    """Return a window with rows for columns."""
    return replace(window, row=window.col, col=window.row, height=window.width, width=window.height)
