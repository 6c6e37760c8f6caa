"""What is missing or damaged in composites and cubes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geo_assets.assets.problems import Problems
    from geo_assets.products.windows import FailedWindow
    from geo_assets.storage.layout import Layout


def windows_of_composites(layout: Layout, fold: str, split: str) -> Problems:
    """Return the windows of composites that could not be read."""
    from geo_assets.products.composites.sidecar import Sidecar

    problems: Problems = []
    folder = layout.composite_images(fold, split)
    for name in sorted({path.stem for end in ("json", "tif") for path in folder.glob(f"*.{end}")}):
        sidecar = Sidecar.read(folder / f"{name}.json")
        if sidecar is not None:
            problems += [_window_row(name, window) for window in sidecar.failed_windows]
        else:  # nothing else tells which windows failed
            missing = dict.fromkeys(("scene", "rows", "cols"), "")
            told = {"error_kind": "corrupt", "error": "its sidecar is missing or damaged"}
            problems.append({"cluster": name} | missing | told)
    return problems


def damaged_expressions(layout: Layout, fold: str, split: str) -> Problems:
    """Return the expressions of a server that are not whole, or lack their preview."""
    from geo_assets.products.composites.expression_sidecar import ExpressionSidecar

    problems: Problems = []
    for path in sorted(layout.composite_images(fold, split).glob("cluster-*.json")):
        sidecar = ExpressionSidecar.read(path)
        found = "it cannot be read" if sidecar is None else sidecar.damage()
        shown = sidecar is None or sidecar.expression is None or path.with_suffix(".png").is_file()
        if found is None and not shown:
            found = "it has no preview"
        if found is not None:
            problems.append({"cluster": path.stem, "problem": found})
    return problems


def windows_of_cubes(layout: Layout, fold: str, split: str) -> Problems:
    """Return the windows of cubes that could not be read, and scenes whose days were put off."""
    from geo_assets.products.cubes.facts import failed_windows_of
    from geo_assets.storage.cubes.opening import open_cube, published_cubes
    from geo_assets.storage.layout import cluster_of
    from geo_assets.storage.seen_scenes import used_scenes

    problems: Problems = []
    for name, path in published_cubes(layout, fold, split).items():
        with open_cube(path) as cube:
            problems += [_window_row(name, window) for window in failed_windows_of(cube)]
    used = used_scenes(layout, fold, split)
    told = {(cluster_of(problem["cluster"]), problem["scene"]) for problem in problems}
    for cluster, scene in sorted(used.unread if used else ()):
        if (cluster, scene) not in told:
            why = "its pixels could not be read, so its day stays as it was without it"
            nowhere = dict.fromkeys(("rows", "cols", "error_kind"), "")
            problems.append(
                {"cluster": f"cluster-{cluster}", "scene": scene} | nowhere | {"error": why}
            )
    return problems


def _window_row(cluster: str, window: FailedWindow) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "scene": window.scene_id,
        "rows": f"{window.row} to {window.row + window.height}",
        "cols": f"{window.col} to {window.col + window.width}",
        "error_kind": window.kind,
        "error": window.error,
    }
