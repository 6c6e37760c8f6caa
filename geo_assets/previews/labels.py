"""Pictures of label rasters: beside the image, class by class, rebuilt from centres, as series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.cubes import as_days, shown_ndvi
from geo_assets.previews.palette import (
    IGNORED,
    MUTED,
    NO_DATA,
    UNLABELLED,
    ClassTable,
    complete_table,
    paint_labels,
    rgb_of,
)
from geo_assets.previews.raster import (
    Array,
    Mask,
    as_bands,
    display_shape,
    resample_labels,
    validity,
)
from geo_assets.previews.rgb import percentile_limits, shown
from geo_assets.previews.style import (
    GAP,
    LABEL_HEIGHT,
    MARGIN,
    SMALL_SIZE,
    LegendItem,
    Sheet,
    nothing_here,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geo_assets.previews.cubes import Dates

_SIDE: Final = 310
_SHEET_WIDTH: Final = 880
_LEGEND: Final = 190
_MASK_PIXELS: Final = 400_000
_MAX_LEGEND: Final = 32


def label_map(
    data: Array,
    labels: NDArray[np.uint8],
    classes: ClassTable,
    valid: Mask | None = None,
    *,
    title: str = "Labels",
    subtitle: str = "",
) -> bytes:
    """Return the photograph beside its label map, with each class' share of the labelled pixels.

    Args:
        data: Red, green and blue (3, y, x), one band, or NDVI as (y, x) floats.
        labels: (y, x) uint8; 0 = no data, 1..254 class, 255 ignored.
        classes: Names and colours of the label values.
        valid: True = datum of ``data``, (y, x) or (band, y, x).
        title: Heading.
        subtitle: Second line.
    """
    if not labels.any():
        return nothing_here(title, "no pixel of this area is labelled")
    photograph, known = _pictured(data, valid)
    shape = display_shape((labels.shape[0], labels.shape[1]), _SIDE, _SIDE)
    painted = paint_labels(resample_labels(labels, shape), complete_table(classes, labels))
    items = _shares(labels, classes)
    height = max(shape[0], known.shape[0])
    top = Sheet.top(title, subtitle)
    second = MARGIN + known.shape[1] + GAP
    legend = second + shape[1] + MARGIN
    body = LABEL_HEIGHT + max(height, 19 * len(items))
    sheet = Sheet(legend + _LEGEND, top + body + MARGIN, title, subtitle)
    sheet.text(MARGIN, top, "image", size=SMALL_SIZE, bold=True)
    sheet.photo(MARGIN, top + LABEL_HEIGHT, photograph, known)
    sheet.frame(MARGIN, top + LABEL_HEIGHT, known.shape[1], known.shape[0])
    sheet.text(second, top, "labels", size=SMALL_SIZE, bold=True)
    sheet.paint(second, top + LABEL_HEIGHT, painted)
    sheet.frame(second, top + LABEL_HEIGHT, shape[1], shape[0])
    sheet.legend(legend, top + LABEL_HEIGHT, items, _LEGEND - MARGIN)
    return sheet.png()


def class_masks(
    labels: NDArray[np.uint8],
    classes: ClassTable,
    *,
    title: str = "One mask per cluster",
    subtitle: str = "",
) -> bytes:
    """Return every class by itself: its pixels in colour, others pale, no data grey.

    Args:
        labels: (y, x) uint8; 0 = no data, 1..254 class.
        classes: Names and colours of the label values.
        title: Heading.
        subtitle: Second line.
    """
    table = complete_table(classes, labels)
    if not labels.any() or not table:
        return nothing_here(title, "no pixel of this area is labelled")
    rows = 1 if len(table) <= 4 else 2 if len(table) <= 12 else -(-len(table) // 8)
    columns = -(-len(table) // rows)
    room = min(
        (_SHEET_WIDTH - 2 * MARGIN + GAP) // columns - GAP,
        220,
        int((_MASK_PIXELS / len(table)) ** 0.5),
    )
    shape = display_shape((labels.shape[0], labels.shape[1]), room, room)
    small = resample_labels(labels, shape)
    step_x, step_y = max(shape[1], 84) + GAP, shape[0] + LABEL_HEIGHT + GAP
    top = Sheet.top(title, subtitle)
    sheet = Sheet(
        max(2 * MARGIN + columns * step_x - GAP, 300), top + rows * step_y - GAP + MARGIN,
        title, subtitle,
    )  # fmt: skip
    labelled = np.count_nonzero(labels)
    for index, (value, (name, colour)) in enumerate(table.items()):
        x, y = MARGIN + index % columns * step_x, top + index // columns * step_y
        share = f"{np.count_nonzero(labels == value) / labelled:.1%}"
        sheet.text(
            x, y, name, size=SMALL_SIZE, bold=True,
            room=step_x - GAP - sheet.text_width(share, SMALL_SIZE) - 8,
        )  # fmt: skip
        sheet.text(x + step_x - GAP, y, share, size=SMALL_SIZE, colour=MUTED, align="right")
        painted = np.full((*shape, 3), rgb_of(UNLABELLED), np.uint8)
        painted[small == 0] = rgb_of(NO_DATA)
        painted[small == value] = rgb_of(colour)
        sheet.paint(x, y + LABEL_HEIGHT, painted)
        sheet.frame(x, y + LABEL_HEIGHT, shape[1], shape[0])
    return sheet.png()


def rebuild(labels: NDArray[np.uint8], centres: Array) -> NDArray[np.float32]:
    """Return the image whose every pixel holds the centre of its cluster, (band, y, x) float32.

    Args:
        labels: (y, x) uint8; 0 and values without a centre become NaN.
        centres: (cluster, band); row 0 is the centre of label 1.
    """
    lookup = np.full((256, centres.shape[1]), np.nan, np.float32)
    lookup[1 : len(centres) + 1] = centres
    rebuilt: NDArray[np.float32] = np.moveaxis(lookup[labels], -1, 0)
    return rebuilt


def rebuilt_image(
    data: Array,
    labels: NDArray[np.uint8],
    centres: Array,
    valid: Mask | None = None,
    *,
    title: str = "Rebuilt from cluster centres",
    subtitle: str = "",
) -> bytes:
    """Return the image beside the one rebuilt from its clusters' centres, stretched alike.

    Args:
        data: Red, green and blue (3, y, x), one band (1, y, x), or NDVI as (y, x) floats.
        labels: (y, x) uint8; 0 = no data.
        centres: (cluster, band) in the units and band order of ``data``; row 0 is label 1.
        valid: True = datum, (y, x) or (band, y, x).
        title: Heading.
        subtitle: Second line; by default the error of the rebuilt image.

    Raises:
        GeoAssetsError: The centres have another number of bands than the data.
    """
    bands = as_bands(data)
    if centres.shape[1] != len(bands):
        raise GeoAssetsError(f"centres of {centres.shape[1]} bands for data of {len(bands)}")
    again = rebuild(labels, centres)
    both = validity(bands, valid) & validity(again)
    if not both.any():
        return nothing_here(title, "no pixel of this area is labelled")
    error = np.sqrt(np.mean((bands[:, both].astype(np.float64) - again[:, both]) ** 2))
    subtitle = subtitle or f"{len(centres)} centres  ·  root mean square error {error:.3g}"
    limits = percentile_limits(bands, valid)
    pictures = (
        ("image", _pictured(data, valid, limits)),
        ("cluster centres", _pictured(again[0] if data.ndim == 2 else again, None, limits)),
    )
    height, width = pictures[0][1][1].shape
    top = Sheet.top(title, subtitle)
    sheet = Sheet(
        max(2 * (MARGIN + width) + GAP, 420), top + LABEL_HEIGHT + height + MARGIN,
        title, subtitle,
    )  # fmt: skip
    for index, (name, (photograph, known)) in enumerate(pictures):
        x = MARGIN + index * (width + GAP)
        sheet.text(x, top, name, size=SMALL_SIZE, bold=True)
        sheet.photo(x, top + LABEL_HEIGHT, photograph, known)
        sheet.frame(x, top + LABEL_HEIGHT, width, height)
    return sheet.png()


def ndvi_series(
    series: Array,
    dates: Dates,
    classes: ClassTable,
    *,
    spread: Array | None = None,
    title: str = "Mean NDVI of each cluster",
    subtitle: str = "",
) -> bytes:
    """Return the mean NDVI of each class over time, a line in its colour.

    Args:
        series: (class, time), NaN = no value; row 0 belongs to the table's first class.
        dates: One date per time step.
        classes: Names and colours of the classes, as many as there are rows.
        spread: (class, time) standard deviation, drawn as a band; None = no band.
        title: Heading.
        subtitle: Second line.

    Raises:
        GeoAssetsError: Rows and classes, or columns and dates, are not equally many.
    """
    days = as_days(dates)
    table = complete_table(classes)
    if series.shape != (len(table), len(days)):
        raise GeoAssetsError(
            f"series of shape {series.shape} for {len(table)} classes and {len(days)} dates"
        )
    if not np.isfinite(series).any():
        return nothing_here(title, "no cluster has a value on any date")
    items = [LegendItem(name, colour) for name, colour in table.values()]
    top = Sheet.top(title, subtitle)
    height = max(270, 19 * len(items))
    sheet = Sheet(640 + 2 * MARGIN + 44 + _LEGEND, top + height + 46, title, subtitle)
    axes = sheet.axes(MARGIN + 34, top, 640, height)
    _plot_series(axes, series, days, table, spread)
    sheet.finish_axes(axes)
    sheet.legend(MARGIN + 34 + 640 + MARGIN, top, items[:_MAX_LEGEND], _LEGEND - MARGIN)
    return sheet.png()


def _plot_series(
    axes: Any,
    series: Array,
    days: NDArray[np.datetime64],
    table: ClassTable,
    spread: Array | None,
) -> None:
    from matplotlib.dates import date2num

    at = date2num(days)
    for row, (_, colour) in enumerate(table.values()):
        known = np.isfinite(series[row])
        if spread is not None:
            low, high = series[row] - spread[row], series[row] + spread[row]
            axes.fill_between(at[known], low[known], high[known], color=colour, alpha=0.13, lw=0)
        axes.plot(
            at[known], series[row][known], color=colour, linewidth=2, marker="o", markersize=3.5,
            markeredgecolor="#fbfbf9", markeredgewidth=0.6,
        )  # fmt: skip
    low, high = float(np.nanmin(series)), float(np.nanmax(series))
    axes.set_ylim(max(-1.0, min(low - 0.05, 0.0)), min(1.0, high + 0.08))
    margin = max(3.0, (at[-1] - at[0]) * 0.02)
    axes.set_xlim(at[0] - margin, at[-1] + margin)
    ticks = np.unique(np.linspace(0, len(days) - 1, min(len(days), 7)).round().astype(int))
    axes.set_xticks(at[ticks], [str(day) for day in days[ticks]])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.1f}")


def _pictured(
    data: Array, valid: Mask | None, limits: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.uint8], Mask]:
    """Return a photograph of bands, or the NDVI map of a single (y, x) plane of floats."""
    if data.ndim == 2 and np.issubdtype(data.dtype, np.floating):
        known = validity(data[np.newaxis], valid)
        painted = shown_ndvi(np.where(known, data, np.nan), _SIDE, _SIDE)
        # No data is painted already, in the grey of maps rather than the checker of photographs.
        return painted, np.ones(painted.shape[:2], bool)
    return shown(data, valid, _SIDE, _SIDE, limits=limits)


def _shares(labels: NDArray[np.uint8], classes: ClassTable) -> list[LegendItem]:
    counts = np.bincount(labels.ravel(), minlength=256)
    labelled = max(int(counts[1:255].sum()), 1)
    items = [
        LegendItem(f"{name} · {counts[value] / labelled:.1%}", colour)
        for value, (name, colour) in complete_table(classes, labels).items()
    ][:_MAX_LEGEND]
    if counts[255]:
        items.append(LegendItem("other split (ignored)", IGNORED))
    if counts[0]:
        items.append(LegendItem("no data", NO_DATA))
    return items
