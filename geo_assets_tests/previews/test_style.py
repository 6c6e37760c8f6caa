"""The sheet: what is placed lies where it was placed, in its own colour."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from geo_assets.previews.palette import CHECKER, LINE, PAPER, rgb_of
from geo_assets.previews.style import LegendItem, Sheet, nothing_here, short_number


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("size", [(300, 100), (301, 101), (879, 333), (1600, 417)])
def test_a_sheet_has_exactly_the_size_asked_for(size):
    pixels = decoded(Sheet(*size, "Title", "subtitle").png())

    assert pixels.shape == (size[1], size[0], 3)
    assert tuple(pixels[-1, -1]) == rgb_of(PAPER)


def test_painted_pixels_and_frames_keep_their_place_and_colour():
    sheet = Sheet(200, 100)
    sheet.fill(20, 10, 30, 40, "#d55e00")
    sheet.frame(20, 10, 30, 40)
    pixels = decoded(sheet.png())

    assert (pixels[10:50, 20:50] == rgb_of("#d55e00")).all()
    assert tuple(pixels[9, 20]) == rgb_of(LINE)
    assert tuple(pixels[50, 50]) == rgb_of(LINE)
    assert tuple(pixels[8, 20]) == rgb_of(PAPER)


def test_a_photograph_shows_a_checker_of_two_greys_where_it_has_no_data():
    sheet = Sheet(100, 60)
    known = np.ones((40, 40), bool)
    known[:20] = False
    sheet.photo(10, 10, np.full((40, 40, 3), 90, np.uint8), known)
    pixels = decoded(sheet.png())

    assert tuple(pixels[10, 10]) == rgb_of(CHECKER[0])
    assert tuple(pixels[10, 17]) == rgb_of(CHECKER[1])
    assert tuple(pixels[40, 30]) == (90, 90, 90)


def test_text_is_drawn_over_photographs_and_shortened_to_its_room():
    sheet = Sheet(300, 60)
    sheet.photo(0, 0, np.full((60, 300, 3), 200, np.uint8))
    sheet.text(10, 10, "a rather long name of a land cover class", room=80)
    dark = (decoded(sheet.png()).max(axis=2) < 120).any(axis=0)

    assert dark[10:90].any()
    assert not dark[95:].any()


def test_dollar_signs_are_text_and_no_formula():
    sheet = Sheet(200, 40)
    sheet.text(5, 5, "$x^$ costs $ 5")

    assert (decoded(sheet.png()) < 100).any()


def test_a_legend_takes_as_many_columns_as_fit():
    items = [LegendItem(f"class {index}", "#0072b2") for index in range(9)]
    sheet = Sheet(600, 300)

    assert sheet.legend_height(items, 500) < sheet.legend_height(items, 120)
    assert sheet.legend(10, 10, items, 500) - 10 == sheet.legend_height(items, 500)
    assert tuple(decoded(sheet.png())[18, 17]) == rgb_of("#0072b2")


def test_an_empty_result_is_a_small_calm_picture():
    png = nothing_here("Chips", "no chips in this fold and split")

    assert len(png) < 4_000
    assert decoded(png).min() < 120


def test_threads_draw_the_same_bytes():
    def draw(index: int) -> bytes:
        sheet = Sheet(300, 120, f"picture {index % 2}", "drawn in a thread")
        axes = sheet.axes(40, 50, 200, 50)
        axes.plot([0, 1, 2], [0, 1, index % 2])
        sheet.finish_axes(axes)
        return sheet.png()

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(draw, range(12)))

    assert set(pictures[::2]) == {draw(0)}
    assert set(pictures[1::2]) == {draw(1)}


def test_drawing_leaves_pyplot_alone():
    import subprocess
    import sys

    code = (
        "import sys, numpy as np\n"
        "from geo_assets.previews import chips, composites, cubes, labels, maps, series, strip\n"
        "cubes.ndvi_map(np.zeros((9, 9)))\n"
        "print('matplotlib.pyplot' in sys.modules, 'geopandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1_234, "1.23k"),
        (999_700, "1M"),
        (3_616_812_000, "3.62G"),
        (-0.25, "-0.25"),
    ],
)
def test_long_numbers_are_told_in_three_digits(number, words):
    assert short_number(number) == words
