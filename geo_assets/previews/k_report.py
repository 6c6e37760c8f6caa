"""The picture of a K report: the criteria of each K, and the K that was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geo_assets.previews.palette import ACCENT, INK, MUTED, PAPER
from geo_assets.previews.style import (
    LABEL_HEIGHT,
    MARGIN,
    SMALL_SIZE,
    LegendItem,
    Sheet,
    short_number,
)

if TYPE_CHECKING:
    from geo_assets.core.k_report import KReport

_WIDTH: Final = 232
_HEIGHT: Final = 150
_LEFT: Final = 44
_CHOSEN: Final = "#d55e00"


def k_plot(report: KReport, *, title: str = "Choosing K", subtitle: str = "") -> bytes:
    """Return a small plot for each criterion of a K report; the chosen K is marked in each.

    Args:
        report: The report.
        title: Heading.
        subtitle: Second line, such as which area.
    """
    chosen = f"K = {report.chosen} chosen; stability as adjusted Rand index"
    subtitle = f"{subtitle}  ·  {chosen}" if subtitle else chosen
    panels = [
        ("inertia", {"": [row.inertia for row in report.rows]}),
        ("silhouette", {"": [row.silhouette for row in report.rows]}),
        ("Calinski-Harabasz index", {"": [row.calinski_harabasz for row in report.rows]}),
        (
            "stability",
            {
                "over seeds": [row.stability_seeds for row in report.rows],
                "over folds": [row.stability_folds for row in report.rows],
            },
        ),
    ]
    top = Sheet.top(title, subtitle)
    step_x, step_y = _LEFT + _WIDTH + MARGIN, LABEL_HEIGHT + _HEIGHT + 34
    sheet = Sheet(2 * step_x + MARGIN, top + 2 * step_y + 6, title, subtitle)
    ks = [row.k for row in report.rows]
    for index, (name, lines) in enumerate(panels):
        x, y = MARGIN + index % 2 * step_x, top + index // 2 * step_y
        axes = sheet.axes(x + _LEFT, y + LABEL_HEIGHT, _WIDTH, _HEIGHT)
        known = _plot(axes, ks, lines, report.chosen)
        sheet.finish_axes(axes)
        # One line needs no legend to tell what it is.
        only = next(iter(known), "") if len(known) == 1 else ""
        sheet.text(x, y, f"{name} {only}".rstrip(), size=SMALL_SIZE, bold=True)
        if len(known) > 1:
            items = [LegendItem(name, colour) for name, colour in known.items()]
            sheet.legend(x + 76, y - 3, items, 200, 2)
    return sheet.png()


def _plot(
    axes: Any, ks: list[int], lines: dict[str, list[float | None]] | Any, chosen: int
) -> dict[str, str]:
    """Draw the lines that have values; return the names and colours of those."""
    axes.axvline(chosen, color=_CHOSEN, linewidth=1.2, zorder=1)
    drawn = {}
    for (name, values), colour in zip(lines.items(), (ACCENT, MUTED), strict=False):
        heights = np.array([np.nan if value is None else value for value in values], np.float64)
        if not np.isfinite(heights).any():
            continue
        drawn[name] = colour
        axes.plot(
            ks, heights, color=colour, linewidth=2, marker="o", markersize=4,
            markeredgecolor=PAPER, markeredgewidth=0.6, zorder=2,
        )  # fmt: skip
        axes.plot(
            [chosen], heights[ks.index(chosen)], marker="o", markersize=7, color=_CHOSEN,
            markeredgecolor=INK, markeredgewidth=0.8, zorder=3,
        )  # fmt: skip
    axes.set_xticks(ks[:: -(-len(ks) // 12)])
    if set(drawn) & {"over seeds", "over folds"}:
        axes.set_ylim(0, 1.05)
    else:
        axes.margins(y=0.12)
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
    return drawn
