"""The house style: one Sheet that every picture is drawn on, measured in pixels from the top left.

A sheet is paper, pixels placed exactly (photographs, painted rasters) and one matplotlib figure
above them. It uses matplotlib's object interface only: no global state, so threads may draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.transforms import IdentityTransform

from geo_assets.previews.palette import (
    CHECKER,
    INK,
    LINE,
    MUTED,
    OUTLINE_GROUND,
    PAPER,
    ClassTable,
    class_colours,
    class_table,
    rgb_of,
)
from geo_assets.previews.png import MAX_BYTES, markdown_image, to_png
from geo_assets.previews.raster import Mask, checkerboard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = [
    "MAX_BYTES", "ClassTable", "LegendItem", "Sheet", "class_colours", "class_table",
    "legend_of", "markdown_image", "nothing_here", "to_png",
]  # fmt: skip

MARGIN: Final = 16
GAP: Final = 10
TITLE_SIZE: Final = 15.0
TEXT_SIZE: Final = 12.0
SMALL_SIZE: Final = 11.0
LABEL_HEIGHT: Final = 18
LEGEND_ROW: Final = 19

_DPI: Final = 64.0  # a power of two: sizes in inches keep whole pixels whole
_POINTS_PER_PIXEL: Final = 72.0 / _DPI


@dataclass(frozen=True)
class LegendItem:
    """One line of a legend."""

    name: str
    colour: str
    mark: Literal["fill", "outline", "hatch"] = "fill"


def legend_of(classes: ClassTable, mark: Literal["fill", "outline"] = "fill") -> list[LegendItem]:
    """Return the legend of a class table, in order of value."""
    return [LegendItem(name, colour, mark) for _, (name, colour) in sorted(classes.items())]


def font(size: float = TEXT_SIZE, *, bold: bool = False) -> FontProperties:
    """Return the house font (shipped with matplotlib, the same everywhere), size in pixels."""
    return FontProperties(
        family="DejaVu Sans",
        weight="bold" if bold else "normal",
        size=size * _POINTS_PER_PIXEL,
    )


class Sheet:
    """A picture in the making; all positions and sizes are pixels from the top left corner."""

    def __init__(self, width: int, height: int, title: str = "", subtitle: str = "") -> None:
        self.width, self.height = width, height
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._pixels[:] = rgb_of(PAPER)
        self._photographs = np.zeros((height, width), bool)
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="none")
        self._canvas = FigureCanvasAgg(self._figure)
        room = width - 2 * MARGIN
        if title:
            self.text(MARGIN, 14, title, size=TITLE_SIZE, bold=True, room=room)
        if subtitle:
            self.text(MARGIN, 35, subtitle, colour=MUTED, room=room)

    @staticmethod
    def top(title: str, subtitle: str = "") -> int:
        """Return where the body of a sheet with these headings begins."""
        return MARGIN + (22 if title else 0) + (22 if subtitle else 0) + (4 if title else 0)

    def photo(self, x: int, y: int, rgb: NDArray[np.uint8], known: Mask | None = None) -> None:
        """Place a photograph, uint8 (y, x, 3), a checker where ``known`` (y, x) is False."""
        rows, columns = slice(y, y + rgb.shape[0]), slice(x, x + rgb.shape[1])
        self._pixels[rows, columns] = rgb
        self._photographs[rows, columns] = True
        if known is not None and not known.all():
            tones = np.array([rgb_of(colour) for colour in CHECKER], np.uint8)
            self.paint(x, y, tones[checkerboard(known.shape)], ~known)

    def paint(self, x: int, y: int, rgb: NDArray[np.uint8], where: Mask | None = None) -> None:
        """Place pixels, uint8 (y, x, 3), whose colours stay exact; only ``where`` (y, x)."""
        rows, columns = slice(y, y + rgb.shape[0]), slice(x, x + rgb.shape[1])
        mask = np.ones(rgb.shape[:2], bool) if where is None else where
        self._pixels[rows, columns][mask] = rgb[mask]
        self._photographs[rows, columns][mask] = False

    def fill(self, x: int, y: int, width: int, height: int, colour: str) -> None:
        """Fill a rectangle with one exact colour."""
        self.paint(x, y, np.full((height, width, 3), rgb_of(colour), np.uint8))

    def frame(
        self,
        x: int,
        y: int,
        width: int,
        height: int,
        *,
        colour: str = LINE,
        line: int = 1,
    ) -> None:
        """Draw a border just outside a rectangle."""
        outer = np.full((height + 2 * line, width + 2 * line, 3), rgb_of(colour), np.uint8)
        border = np.ones(outer.shape[:2], bool)
        border[line:-line, line:-line] = False
        self.paint(x - line, y - line, outer, border)

    def hatch(self, x: int, y: int, width: int, height: int, colour: str) -> None:
        """Draw diagonal lines over a rectangle."""
        rows, columns = np.indices((height, width))
        tone = np.full((height, width, 3), rgb_of(colour), np.uint8)
        self.paint(x, y, tone, (rows + columns) % 8 < 2)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = TEXT_SIZE,
        colour: str = INK,
        bold: bool = False,
        align: Literal["left", "center", "right"] = "left",
        room: float | None = None,
    ) -> None:
        """Write one line whose top is at y; shortened with an ellipsis to ``room`` pixels."""
        properties = font(size, bold=bold)
        if room is not None and self._measure(text, properties) > room:
            while text and self._measure(text + "…", properties) > room:
                text = text[:-1]
            text = text.rstrip() + "…"
        self._figure.text(
            x / self.width,
            1 - (y + size * 0.93) / self.height,
            text,
            fontproperties=properties,
            color=colour,
            ha=align,
            va="baseline",
            parse_math=False,
        )

    def text_width(self, text: str, size: float = TEXT_SIZE, *, bold: bool = False) -> int:
        """Return how many pixels a line of text takes."""
        return int(np.ceil(self._measure(text, font(size, bold=bold))))

    def legend(
        self, x: int, y: int, items: Sequence[LegendItem], width: int, columns: int | None = None
    ) -> int:
        """Draw a legend in as many columns as fit into ``width``; return where it ends."""
        columns, step = self._legend_columns(items, width, columns)
        rows = -(-len(items) // columns)
        for index, item in enumerate(items):
            left, upper = x + index // rows * step, y + index % rows * LEGEND_ROW
            self._swatch(left, upper + 2, item)
            self.text(left + 20, upper + 1, item.name, size=TEXT_SIZE, room=step - 26)
        return y + rows * LEGEND_ROW

    def legend_height(self, items: Sequence[LegendItem], width: int) -> int:
        """Return how many pixels ``legend`` will take."""
        return -(-len(items) // self._legend_columns(items, width)[0]) * LEGEND_ROW

    def axes(self, x: int, y: int, width: int, height: int) -> Axes:
        """Return plot axes in the house style: two quiet spines, a light grid, small ticks."""
        axes = self._figure.add_axes(
            (
                x / self.width,
                1 - (y + height) / self.height,
                width / self.width,
                height / self.height,
            ),
            facecolor="none",
        )
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(LINE)
        axes.tick_params(length=3, color=LINE, labelcolor=MUTED, pad=3)
        axes.grid(visible=True, color=LINE, linewidth=0.6, alpha=0.7)
        axes.set_axisbelow(True)
        return axes

    def finish_axes(self, axes: Axes) -> None:
        """Set the house font on tick labels, once an axes' ticks are settled."""
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            label.set_fontproperties(font(SMALL_SIZE))

    def pixels(self) -> NDArray[np.uint8]:
        """Return the finished picture, uint8 (y, x, 3)."""
        self._canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib leaves Agg untyped
        drawn = np.asarray(self._canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]  # as above
        alpha = drawn[..., 3:].astype(np.uint16)
        blend = drawn[..., :3] * alpha + self._pixels * (255 - alpha)
        return ((blend + 127) // 255).astype(np.uint8)

    def png(self, max_bytes: int = MAX_BYTES) -> bytes:
        """Return the finished picture as PNG bytes of at most ``max_bytes``."""
        pixels = self.pixels()
        untouched = (pixels == self._pixels).all(axis=2)
        return to_png(pixels, max_bytes, photographs=self._photographs & untouched)

    def _measure(self, text: str, properties: FontProperties) -> float:
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]  # as above
        return float(renderer.get_text_width_height_descent(text, properties, ismath=False)[0])

    def _legend_columns(
        self, items: Sequence[LegendItem], width: int, columns: int | None = None
    ) -> tuple[int, int]:
        if columns is not None:
            return columns, width // columns
        longest = max((self.text_width(item.name) for item in items), default=0)
        step = max(1, min(longest + 40, width))
        return max(1, min(width // step, len(items))), step

    def _swatch(self, x: int, y: int, item: LegendItem) -> None:
        outline = item.mark == "outline"
        parts = [(0, OUTLINE_GROUND if outline else item.colour)]
        if outline:  # as on a photograph: a dark line around the coloured one
            parts += [(1, item.colour), (4, OUTLINE_GROUND)]
        for inset, colour in parts:
            self._figure.add_artist(
                Rectangle(
                    (x + inset, self.height - y - 13 + inset), 14 - 2 * inset, 13 - 2 * inset,
                    transform=IdentityTransform(), facecolor=colour, linewidth=0,
                    antialiased=False,
                )
            )  # fmt: skip
        if item.mark == "hatch":
            self._figure.add_artist(
                Rectangle(
                    (x, self.height - y - 13), 14, 13, transform=IdentityTransform(),
                    facecolor="none", edgecolor=PAPER, hatch="////", linewidth=0,
                )
            )  # fmt: skip


def side_legend(items: Sequence[LegendItem], height: int) -> tuple[int, int]:
    """Return (columns, width in pixels) of a legend beside a picture of this height."""
    probe = Sheet(1, 1)
    longest = max((probe.text_width(item.name) for item in items), default=0)
    columns = max(1, -(-len(items) * LEGEND_ROW // max(height, 8 * LEGEND_ROW)))
    return columns, columns * min(longest + 32, 220)


def nothing_here(title: str, message: str, *, width: int = 480) -> bytes:
    """Return the calm picture of an empty result."""
    top = Sheet.top(title)
    sheet = Sheet(width, top + 76, title)
    sheet.fill(MARGIN, top, width - 2 * MARGIN, 60, "#f1f2f4")
    sheet.frame(MARGIN, top, width - 2 * MARGIN, 60)
    sheet.text(width / 2, top + 23, message, colour=MUTED, align="center", room=width - 4 * MARGIN)
    return sheet.png()


def short_number(value: float) -> str:
    """Return a number in three digits and a letter: 12k, 3.4M."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # What rounds to a thousand of one letter is one of the next.
        if abs(value) >= 0.9995 * unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"
