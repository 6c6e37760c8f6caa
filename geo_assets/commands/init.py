"""``geo-assets init AREA``: a campaign of one's own from a vector file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from geo_assets.campaign_file import load_campaign
from geo_assets.errors import AreaError, CampaignError, GeoAssetsError
from geo_assets.storage.atomic import publish

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from geopandas import GeoDataFrame

TEMPLATE = """\
# Check it with: geo-assets doctor --campaign {file}
# Every key there is: geo-assets schema
name: {name}
title: {title}
folds: {folds}
splits: {splits}

areas:
{areas}
clusters:
  count: 1
  buffer_m: 500

imagery:
{imagery}
start: {start}
end: {end}
clouds:
  max_cover: 20

composite:
  bands: {bands}
chips:
  size: 256
  keep: {keep}
{cube}"""

CUBE = """\
cube:
  area: polygons
"""

CATALOG = "https://earth-search.aws.element84.com/v1"
COLLECTION = "sentinel-2-l2a"
BANDS = ("B02", "B03", "B04", "B08")
SIGNING_HOST = "planetarycomputer.microsoft.com"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def write_campaign(
    area: Path,
    target: Path | None,
    start: dt.date,
    end: dt.date,
    *,
    catalog: str = CATALOG,
    earth_engine: str | None = None,
    bands: Sequence[str] = (),
    layer: str | None = None,
) -> Path:
    """Write a campaign beside (or, with ``target``, away from) a vector file.

    Columns named fold, split, and class or label are found and used.

    Args:
        area: The vector file.
        target: Where the campaign goes.
        start: First day of imagery.
        end: Last day of imagery.
        catalog: STAC API, or static catalog by URL or by path from the working directory.
        earth_engine: Earth Engine image collection, in place of a catalog.
        bands: Bands of the composite; without any, blue, green, red and near infrared of
            Sentinel-2.
        layer: Layer of a file that holds several.

    Raises:
        AreaError: If the vector file cannot be used.
        CampaignError: If what was asked for makes no valid campaign.
        GeoAssetsError: If the campaign's file exists already.
    """
    from geo_assets.storage.vectors import read_vector

    if earth_engine is not None and not bands:
        raise GeoAssetsError(
            f"--earth-engine {earth_engine}: needs --bands too, named as the collection names them "
            "and separated by commas: --bands B,G,R,N"
        )
    frame = read_vector(area, layer=layer)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", area.stem).strip("-_")[:64] or "campaign"
    target = (target or area.with_name(f"{name}.yaml")).resolve()
    if target.exists():
        raise GeoAssetsError(f"{target}: exists already; give another file with --output")
    fold, split, class_ = (
        _first_of(frame, names) for names in (("fold",), ("split",), ("class", "label"))
    )
    areas = {
        "file": _seen_from(target.parent, area),
        "layer": layer,
        "fold_column": fold,
        "split_column": split,
        "class_column": class_,
    }
    text = TEMPLATE.format(
        file=target.name,
        name=_flow(name),
        title=_flow(f"Chips and NDVI of {area.name}"),
        folds=_flow(_values(frame, fold, area)),
        splits=_flow(_values(frame, split, area)),
        areas=_block(areas),
        imagery=_block(
            {"kind": "earth-engine", "collection": earth_engine}
            if earth_engine is not None
            else {"kind": "stac"} | _imagery(catalog, target.parent)
        ),
        start=start,
        end=end,
        bands=_flow(list(bands or BANDS)),
        keep="labelled" if class_ else "all",
        cube=CUBE if earth_engine is None else "",
    )
    with publish(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
        try:
            load_campaign(str(temporary))
        except CampaignError as error:
            raise CampaignError(str(error).replace(temporary.name, target.name)) from None
    return target


def _imagery(catalog: str, folder: Path) -> dict[str, Any]:
    """How the catalog is searched; of a catalog of one's own every collection is."""
    if "://" not in catalog:
        return {"catalog": _seen_from(folder, Path(catalog))}
    known = catalog == CATALOG or SIGNING_HOST in catalog
    return {
        "catalog": catalog,
        "collections": [COLLECTION] if known else None,
        "signing": "planetary-computer" if SIGNING_HOST in catalog else None,
    }


def _first_of(frame: GeoDataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in frame.columns), None)


def _values(frame: GeoDataFrame, column: str | None, area: Path) -> list[str]:
    """Values of a column as names; numbers are read as text, as ``labels`` does."""
    if column is None:
        return ["all"]
    values = frame[column].dropna()
    if values.dtype.kind == "f" and (values % 1 == 0).all():
        values = values.astype("int64")  # integers beside nulls are read as floats
    names = sorted({str(value) for value in values}, key=lambda name: (_rank(name), name))
    unfit = [name for name in names if not _NAME.fullmatch(name)]
    if unfit or not names:
        raise AreaError(
            f"{area.name}: column {column!r} has the values {unfit or names}; allowed are letters "
            "A-Z, a-z, digits, '_' and '-', at most 64, the first a letter or a digit; rename "
            "them, or the column if it means something else"
        )
    return names


def _seen_from(folder: Path, path: Path) -> str:
    """A path relative to a folder if it lies below it, else absolute."""
    path = path.resolve()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _flow(value: str | list[str]) -> str:
    """A value as YAML on one line, quoted where YAML would read something else: 'no', '1'."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _block(values: Mapping[str, Any]) -> str:
    """Those keys of a section that have a value."""
    return "".join(
        f"  {key}: {_flow(value)}\n" for key, value in values.items() if value is not None
    )


def _rank(name: str) -> int:
    """Place of a split in the order people think of them; other names come after, by name."""
    known = ("train", "val", "validation", "test")
    return known.index(name) if name in known else len(known)
