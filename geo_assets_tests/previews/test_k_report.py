from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from geo_assets.core.k_report import KReport, KRow
from geo_assets.previews.k_report import k_plot
from geo_assets.previews.palette import ACCENT, MUTED, rgb_of
from geo_assets.previews.png import MAX_BYTES


def a_report(ks, seeds=0.9, folds=0.8):
    rows = tuple(KRow(k, 1e6 / k, 0.6 - 0.02 * k, 900.0 * k, seeds, folds) for k in ks)
    return KReport(rows, ks[len(ks) // 2], 5000)


def pixels_of(png, colour):
    assert len(png) <= MAX_BYTES
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return int((picture == rgb_of(colour)).all(axis=-1).sum())


@pytest.mark.parametrize("ks", [[2, 3], list(range(2, 11)), list(range(2, 33))])
def test_the_chosen_k_is_marked_in_each_plot(ks):
    png = k_plot(a_report(ks), subtitle="cluster 0")
    assert pixels_of(png, "#d55e00") > 4 * 100


def test_a_fit_without_seed_has_no_line_for_it():
    both, one = k_plot(a_report([2, 3, 4])), k_plot(a_report([2, 3, 4], seeds=None))
    assert pixels_of(both, MUTED) > pixels_of(one, MUTED) - 50
    assert pixels_of(both, ACCENT) > pixels_of(one, ACCENT)


def test_without_any_stability_the_plot_is_empty():
    assert pixels_of(k_plot(a_report([2, 3, 4], None, None)), ACCENT) > 0
