"""``python -m geo_assets_tests.benchmarks.kmeans_scaling``: cost over pixels and over dates.

CPU seconds of this process, the least of some rounds: that a cost grows linearly shows in them
whoever else is at work. The fit sees a sample of fixed size and is told apart.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from geo_assets.core.histogram_kmeans import fit_histogram, histogram_of, labels_of
from geo_assets.core.pixel_kmeans import fit_pixels, label_raster
from geo_assets.core.sampling import block_sample
from geo_assets.core.temporal_features import temporal_features
from geo_assets_tests.benchmarks.results import machine
from geo_assets_tests.benchmarks.synthetic import days, ndvi_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Result = TypeVar("Result")

K = 5
SAMPLE = 20_000
ROUNDS = 3
MILLIONS = (0.5, 1.0, 2.0, 4.0)
"""Pixels of the series; ten times as many of one date."""
DATES = (6, 12, 24, 48)
PLAIN_DATES, PLAIN_MILLIONS = 12, 0.5
"""Dates where pixels grow, and pixels where dates do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes: shows that it works")
    share = 0.01 if parser.parse_args().quick else 1.0
    console = Console(width=110)
    console.print(_spatial([10 * millions * share for millions in MILLIONS]))
    console.print(_temporal([(millions * share, PLAIN_DATES) for millions in MILLIONS], "pixels"))
    console.print(_temporal([(PLAIN_MILLIONS * share, dates) for dates in DATES], "dates"))
    console.print(f"{machine()}; CPU seconds, least of {ROUNDS}")


def _spatial(millions: list[float]) -> Table:
    table = Table("million pixels", "histogram", "fit", "labels", "ns a pixel", title="one date")
    for size in millions:
        ndvi = _cube(size, 1)[0]
        counted, histogram = _least(lambda: histogram_of(ndvi))  # noqa: B023  # called at once
        fitted, model = _least(lambda: fit_histogram(histogram, K))  # noqa: B023
        labelled, _ = _least(lambda: labels_of(ndvi, model))  # noqa: B023
        each = (counted + labelled) / ndvi.size * 1e9
        numbers = [f"{seconds:.4f}" for seconds in (counted, fitted, labelled)]
        table.add_row(f"{ndvi.size / 1e6:.3g}", *numbers, f"{each:.2f}")
    return table


def _temporal(sizes: list[tuple[float, int]], what: str) -> Table:
    columns = ("million pixels", "dates", "gaps", "sample", "fit", "labels")
    table = Table(*columns, "ns a pixel and date: gaps", "labels", title=f"series, {what} growing")
    for millions, dates in sizes:
        cube = _cube(millions, dates)
        filled, series = _least(lambda: temporal_features(cube, days(dates), "date", 366))  # noqa: B023
        features, valid = series.values, series.complete  # a field of ours
        drawn, sample = _least(
            lambda: block_sample(
                features,  # noqa: B023
                valid,  # noqa: B023
                origin=(0, 0),
                shape=valid.shape,  # noqa: B023
                size=SAMPLE,
                seed=0,
            )
        )
        fitted, model = _least(
            lambda: fit_pixels(sample.values, K, scaling="common-robust", seed=0)  # noqa: B023
        )
        labelled, _ = _least(lambda: label_raster(model, features, valid))  # noqa: B023
        numbers = [f"{seconds:.4f}" for seconds in (filled, drawn, fitted, labelled)]
        each = [f"{seconds / cube.size * 1e9:.2f}" for seconds in (filled, labelled)]
        table.add_row(f"{cube[0].size / 1e6:.3g}", str(dates), *numbers, *each)
    return table


def _cube(millions: float, dates: int) -> NDArray[np.int16]:
    side = round((millions * 1e6) ** 0.5)
    return np.stack([np.ascontiguousarray(i) for i in ndvi_images(side, dates, 0.3, seed=7)])


def _least(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the least CPU seconds of some rounds, and the result; the first round compiles."""
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return min(seconds[1:]), result


if __name__ == "__main__":
    main()
