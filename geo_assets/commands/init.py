"""``geo-assets init AREA``: a campaign of one's own from a vector file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from geopandas import GeoDataFrame

TEMPLATE = """\
# Check it with: geo-assets doctor --campaign {file}
# Every key there is: geo-assets schema
name: {name}
title: {title}
folds: [{folds}]
splits: [{splits}]

areas:
  file: {area}
{columns}
clusters:
  count: 1
  buffer_m: 500

imagery:
  kind: stac
  catalog: {catalog}
  collections: [{collection}]
start: {start}
end: {end}
clouds:
  max_cover: 20

composite:
  bands: [B02, B03, B04, B08]
chips:
  size: 256
  keep: {keep}
cube:
  area: polygons
"""

CATALOG = "https://earth-search.aws.element84.com/v1"
COLLECTION = "sentinel-2-l2a"


def write_campaign(
    area: Path, target: Path | None, start: dt.date, end: dt.date, catalog: str = CATALOG
) -> Path:
    """Write a campaign beside (or, with ``target``, away from) a vector file.

    Columns named fold, split, and class or label are found and used.

    Raises:
        AreaError: If the vector file cannot be used.
        GeoAssetsError: If the campaign's file exists already.
    """
    from geo_assets.storage.vectors import read_vector

    frame = read_vector(area)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", area.stem).strip("-_") or "campaign"
    target = (target or area.with_name(f"{name}.yaml")).resolve()
    if target.exists():
        raise GeoAssetsError(f"{target}: exists already; give another file with --output")
    fold, split, class_ = (
        _first_of(frame, names) for names in (("fold",), ("split",), ("class", "label"))
    )
    found = {"fold_column": fold, "split_column": split, "class_column": class_}
    text = TEMPLATE.format(
        file=target.name,
        name=name,
        title=f"Chips and NDVI of {area.name}",
        folds=_values(frame, fold),
        splits=_values(frame, split),
        area=_relative(area.resolve(), target.parent),
        columns="".join(f"  {key}: {column}\n" for key, column in found.items() if column),
        catalog=catalog,
        collection=COLLECTION,
        start=start,
        end=end,
        keep="labelled" if class_ else "all",
    )
    target.write_text(text, encoding="utf-8")
    return target


def _first_of(frame: GeoDataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in frame.columns), None)


def _values(frame: GeoDataFrame, column: str | None) -> str:
    """Values of a column as the inside of a YAML list; numbers are quoted, as names are words."""
    if column is None:
        return "all"
    values = sorted({str(value) for value in frame[column].dropna()})
    return ", ".join(f'"{value}"' if value.isdigit() else value for value in values)


def _relative(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path
