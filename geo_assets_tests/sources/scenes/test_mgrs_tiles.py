from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_assets.sources.scenes.mgrs_tiles import mgrs_tile

BANDS = "CDEFGHJKLMNPQRSTUVWX"
COLUMNS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
ROWS = "ABCDEFGHJKLMNPQRSTUV"
TILES = st.tuples(
    st.integers(1, 60), st.sampled_from(BANDS), st.sampled_from(COLUMNS), st.sampled_from(ROWS)
)


def item(name="scene", **properties):
    return {"id": name, "properties": properties}


def named(name, **properties):
    """Property names hold colons, which keywords cannot."""
    return item(name, **{key.replace("__", ":", 1): value for key, value in properties.items()})


@pytest.mark.parametrize(
    ("scene", "tile"),
    [
        (named("x", s2__mgrs_tile="33UUU"), "33UUU"),
        (named("x", grid__code="MGRS-33UUU"), "33UUU"),
        (named("x", grid__code="MGRS-1WCV"), "01WCV"),
        (named("x", grid__code="WRS2-193023"), None),
        (
            named("x", mgrs__utm_zone=33, mgrs__latitude_band="U", mgrs__grid_square="UU"),
            "33UUU",
        ),
        (named("x", mgrs__utm_zone=1, mgrs__latitude_band="W", mgrs__grid_square="CV"), "01WCV"),
        (named("x", mgrs__utm_zone=33, mgrs__latitude_band="U"), None),
        (item("S2A_33UUU_20200124_0_L2A"), "33UUU"),
        (item("S2B_T33UUU_20240422T174753_L2A"), "33UUU"),
        (item("S2A_MSIL2A_20200731T080611_R078_T35MNM_20200818T062751"), "35MNM"),
        (item("S2A_1WCV_20200124_0_L2A"), "01WCV"),
        (item("LC08_L2SP_193023_20200124"), None),
        (item("33UUU"), None),
        (item("S2A_99UUU_20200124_0_L2A"), None),
        (item("S2_RUFIJI_20160312"), None),
        (named("S2A_33UUU_20200124_0_L2A", s2__mgrs_tile="32UQD"), "32UQD"),
        (named("S2A_33UUU_20200124_0_L2A", s2__mgrs_tile="unknown"), "33UUU"),
        (named("x", s2__mgrs_tile=None), None),
        (
            named("x", s2__product_uri="S2A_MSIL2A_20200124_N0213_R022_T33UUT_20200124.SAFE"),
            "33UUT",
        ),
    ],
    ids=str,
)
def test_a_tile_is_found_wherever_a_service_names_it(scene, tile):
    assert mgrs_tile(scene) == tile


@given(TILES)
def test_all_ways_to_name_a_tile_give_one_name(parts):
    zone, band, column, row = parts
    square = column + row
    short, long = f"{zone}{band}{square}", f"{zone:02d}{band}{square}"
    scenes = [
        named("x", s2__mgrs_tile=long),
        named("x", grid__code=f"MGRS-{short}"),
        named("x", mgrs__utm_zone=zone, mgrs__latitude_band=band, mgrs__grid_square=square),
        named("x", sentinel__utm_zone=zone, sentinel__latitude_band=band)
        | {"id": f"S2A_{short}_20200124_0_L2A"},
        item(f"S2C_MSIL2A_20200731T080611_R078_T{long}_20200818T062751"),
    ]
    assert {mgrs_tile(scene) for scene in scenes} == {long}


@pytest.mark.real_data
def test_every_real_sentinel_2_item_names_its_tile_as_its_product_does(real_data):
    seen = 0
    for path in sorted((real_data / "stac_json").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        records = content if isinstance(content, list) else content.get("features", [content])
        for record in records:
            if record.get("type") != "Feature":
                continue
            tile = mgrs_tile(record)
            if not record["id"].startswith("S2"):
                assert tile is None, record["id"]
                continue
            properties = record["properties"]
            product = properties.get("s2:product_uri") or properties["sentinel:product_id"]
            assert tile == product.split("_T")[1][:5], record["id"]
            # Without the properties, the id alone says the same.
            assert mgrs_tile({"id": record["id"], "properties": {}}) == tile
            seen += 1
    assert seen == 10 + 13 + 4 + 2 + 1


@pytest.mark.real_data
def test_every_item_of_a_stac_geoparquet_names_its_tile(real_data):
    import pyarrow.parquet as pq

    table = pq.read_table(
        real_data / "stac_json/stac_geoparquet_100_sentinel-2_items.parquet",
        columns=["id", "s2:mgrs_tile"],
    )
    for row in table.to_pylist():
        assert mgrs_tile({"id": row["id"], "properties": row}) == row["s2:mgrs_tile"]
        assert mgrs_tile({"id": row["id"], "properties": {}}) == row["s2:mgrs_tile"]
