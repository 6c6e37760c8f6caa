"""The encoder: bounded, exact where it must be, always the same bytes."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.png import MAX_BYTES, markdown_image, to_png


def decoded(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    image.load()
    return np.asarray(image.convert("RGB"))


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    values = np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)
    return np.broadcast_to(values, (height, width, 3)).copy()


def test_a_picture_of_few_colours_is_stored_exactly():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = (12, 200, 99)
    pixels[5, 5] = (255, 0, 1)

    np.testing.assert_array_equal(decoded(to_png(pixels)), pixels)


def test_pure_noise_still_fits_the_bound_and_keeps_its_size():
    png = to_png(noise(420, 900))

    assert len(png) <= MAX_BYTES
    assert decoded(png).shape == (420, 900, 3)


def test_grey_noise_still_fits_the_bound_and_stays_grey():
    png = to_png(noise(420, 900, channels=1))
    pixels = decoded(png)

    assert len(png) <= MAX_BYTES
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("bound", [8_000, 20_000, 100_000])
def test_a_wider_bound_is_used_for_more_quality(bound):
    ramp = np.indices((200, 200)).sum(0)
    pixels = (ramp[..., None] * [0.6, 0.3, 0.5] + noise(200, 200) * 0.2).astype(np.uint8)
    png = to_png(pixels, bound)
    error = np.abs(decoded(png).astype(int) - pixels).mean()

    assert len(png) <= bound
    assert error < {8_000: 40, 20_000: 14, 100_000: 5}[bound]


def test_colours_outside_the_photograph_stay_exact_however_small_the_bound():
    pixels = noise(200, 200)
    photographs = np.ones((200, 200), bool)
    pixels[:, :50] = (0, 114, 178)
    pixels[:, 50:52] = (251, 251, 249)
    photographs[:, :52] = False

    back = decoded(to_png(pixels, 6_000, photographs=photographs))

    np.testing.assert_array_equal(back[:, :52], pixels[:, :52])


def test_the_same_picture_gives_the_same_bytes():
    pixels = noise(120, 120)

    assert to_png(pixels, 9_000) == to_png(pixels.copy(), 9_000)


def test_no_text_chunk_time_or_software_is_stored():
    image = Image.open(io.BytesIO(to_png(noise(20, 20))))

    assert image.info.keys() <= {"transparency", "interlace"}


def test_a_matplotlib_figure_is_encoded_at_its_own_size():
    figure = Figure(figsize=(3, 2), dpi=100, facecolor="#d55e00")

    pixels = decoded(to_png(figure))

    assert pixels.shape == (200, 300, 3)
    assert tuple(pixels[0, 0]) == (0xD5, 0x5E, 0x00)


def test_a_drawing_too_busy_for_the_bound_is_simplified_rather_than_refused():
    png = to_png(noise(300, 300), 30_000, photographs=np.zeros((300, 300), bool))

    assert len(png) <= 30_000


def test_a_bound_that_nothing_fits_is_refused_with_the_size():
    with pytest.raises(GeoAssetsError, match=r"300 x 300 pixels cannot be stored in 100 bytes"):
        to_png(noise(300, 300), 100)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (3, 4, 4, 3)])
def test_an_array_that_is_no_rgb_picture_is_refused(shape):
    with pytest.raises(GeoAssetsError, match="uint8"):
        to_png(np.zeros(shape, np.uint8))


def test_markdown_holds_the_png_as_a_data_uri_and_a_safe_alternative_text():
    png = to_png(np.zeros((3, 3, 3), np.uint8))
    text = markdown_image(png, "chips [north]\nof today")

    assert text.startswith("![chips (north) of today](data:image/png;base64,")
    assert base64.b64decode(text.split("base64,")[1].rstrip(")")) == png
