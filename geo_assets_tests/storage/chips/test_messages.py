"""What a table may say of an error: enough to act on, no folder and no secret."""

from __future__ import annotations

import pytest

from geo_assets.storage.chips.messages import publishable

MESSAGES = {
    "'/home/ada/my data/a b.tif' not recognized": "'a b.tif' not recognized",
    "cannot open /srv/x/y.tif: gone": "cannot open y.tif: gone",
    "file:///srv/x/y.tif is gone": "y.tif is gone",
    r"C:\Users\ada\y.tif is gone": "y.tif is gone",
    "GET https://a.b/c.tif?sig=CANARY#x failed": "GET https://a.b/c.tif failed",
    "https://ada:CANARY@a.b/c.tif failed": "https://a.b/c.tif failed",
    "https://ada:CANARY@a.b/c.tif?k=1 failed": "https://a.b/c.tif failed",
    "/vsicurl/https://a.b/c.tif?x=CANARY failed": "https://a.b/c.tif failed",
    "header Authorization: Bearer CANARY refused": "header Authorization=*** refused",
    "api_key=CANARY&x=1": "api_key=***&x=1",
    "two\n lines": "two lines",
    "bands 3/4 of S2A_2024/05/01 in 10 m/pixel": "bands 3/4 of S2A_2024/05/01 in 10 m/pixel",
    "relative/path.tif stays": "relative/path.tif stays",
}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_made_fit_to_be_published(message):
    assert publishable(message) == MESSAGES[message]


def test_a_long_message_is_cut():
    assert len(publishable("x" * 10_000)) == 500
