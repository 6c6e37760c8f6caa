"""Reading of assets from a server of files: what tests of patience and of kept scenes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import rasterio

from geo_assets.errors import ReadError
from geo_assets.sources.scenes.asset_files import AssetFiles, HttpRules
from geo_assets_tests.emulators.file_server import Answer, FileServer

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio import DatasetReader

QUICK = HttpRules(attempts=3, timeout_s=5, total_s=20, wait_initial_s=0.001, wait_max_s=0.01)
ALWAYS_500 = Answer(500, b"down")
HTML = Answer(200, b"<html>please log in</html>")


def everything(dataset: DatasetReader) -> Any:
    return dataset.read()


def fails(files: AssetFiles, href: str) -> ReadError:
    with pytest.raises(ReadError) as raised:
        files.read(href, everything, "scene x, asset y")
    assert str(raised.value).startswith("scene x, asset y (")
    return raised.value


def damage_last_block(path: Path) -> None:
    with rasterio.open(path) as file:
        (row, col), _ = list(file.block_windows(1))[-1]
        start = int(file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[start : start + 20] = bytes(20)
    path.write_bytes(content)


def first_block(dataset: DatasetReader) -> Any:
    return dataset.read(window=((0, 64), (0, 64)))


def pixels(server: FileServer) -> Any:
    with rasterio.open(server.folder / "x.tif") as file:
        return file.read()


def pixels_of_first_block(server: FileServer) -> Any:
    with rasterio.open(server.folder / "x.tif") as file:
        return first_block(file)


@dataclass
class TokenSigning:
    """Signs with a token that the test hands out."""

    tokens: list[str]
    renewed: list[str] = field(default_factory=list)

    def sign(self, href: str) -> str:
        return f"{href}?key={self.tokens[0]}"

    def renew(self, href: str) -> None:
        self.renewed.append(href)
        del self.tokens[0]
