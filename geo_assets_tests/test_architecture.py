"""The rooms of docs/architecture.md: who may import whom, and where Dagster may be spoken."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import geo_assets

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(geo_assets.__file__).parent

MAY_IMPORT = {
    "errors": set(),
    "core": {"errors"},
    "storage": {"core", "errors"},
    "campaign": {"core", "errors"},
    "previews": {"core", "storage", "errors"},
    "sources": {"campaign", "core", "storage", "errors"},
    "products": {"sources", "campaign", "core", "storage", "errors"},
}
"""The rooms below the graph; ``campaign`` is all of campaign*.py. Imports that only type checkers
see count as well."""


def _modules(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else sorted(PACKAGE.glob(f"{room}*.py"))


def _imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _rooms_of(module: Path) -> set[str]:
    parts = (name.split(".") for name in _imported(module))
    rooms = {part[1] for part in parts if part[0] == "geo_assets" and len(part) > 1}
    return {"campaign" if room.startswith("campaign_") else room for room in rooms}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_downwards_only(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    upwards = {
        f"{module.relative_to(PACKAGE)} imports {other}"
        for module in _modules(room)
        for other in _rooms_of(module) - allowed
    }
    assert upwards == set()


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_dagster_is_spoken_above_the_rooms_that_compute_and_store(room: str) -> None:
    speaking = {
        str(module.relative_to(PACKAGE))
        for module in _modules(room)
        for name in _imported(module)
        if name.split(".")[0].startswith("dagster")
    }
    assert speaking == set()


def test_kernels_know_arrays_alone() -> None:
    known = {
        f"{module.name} imports {name}"
        for module in _modules("core/kernels")
        for name in _imported(module)
        if name.startswith("geo_assets.") and not name.startswith("geo_assets.core.kernels")
    }
    assert known == set()
