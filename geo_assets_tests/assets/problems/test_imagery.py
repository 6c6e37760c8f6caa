from __future__ import annotations

import json

from geo_assets.assets.problems.imagery import windows_of_cubes
from geo_assets.products.cubes.facts import FAILED_ATTRIBUTE
from geo_assets.storage.seen_scenes import UsedScenes, write_used_scenes
from geo_assets_tests.assets.label_cases import DAYS, GRID, a_partition, two_kinds
from geo_assets_tests.storage.cubes.written_cube import write_cube


def test_a_scene_that_one_cluster_read_in_part_is_told_for_another_that_put_it_off(tmp_path):
    """Clusters share scenes: what is said of one says nothing of the next."""
    layout = a_partition(tmp_path).layout
    window = {"row": 0, "col": 8, "height": 4, "width": 2, "scene_id": "S2A_1"}
    failed = json.dumps([window | {"kind": "transient", "error": "timeout"}])
    path = layout.ndvi_cube("north", "train", 0)
    said = {FAILED_ATTRIBUTE: failed}
    write_cube(path, {"ndvi": two_kinds()[0]}, DAYS.astype("datetime64[ms]"), GRID, said)
    unread = frozenset({(0, "S2A_1"), (1, "S2A_1")})
    write_used_scenes(layout.used_scenes("north", "train"), UsedScenes(unread, unread))
    rows = windows_of_cubes(layout, "north", "train")
    assert [(row["cluster"], row["scene"], row["rows"]) for row in rows] == [
        ("cluster-0", "S2A_1", "0 to 4"),
        ("cluster-1", "S2A_1", ""),
    ]
