"""Names and colours of the classes of a label raster, in the forms that GDAL and QGIS read.

QGIS opens a raster of one band with a colour table as a legend of classes and labels it with the
band's category names. GeoTIFF stores the colours but has no place for category names: GDAL keeps
them in ``{name}.tif.aux.xml``, its persistent auxiliary metadata
(https://gdal.org/en/stable/drivers/raster/pam.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from pathlib import Path

ClassTable = Mapping[int, tuple[str, str]]
"""Class value 0..255 → (name, colour as ``#rrggbb``)."""

_TRANSPARENT = (0, 0, 0, 0)


def problem_of(table: ClassTable) -> str | None:
    """Say what is wrong with a class table, or None."""
    for value, (_, colour) in table.items():
        if not 0 <= value <= 255 or not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            return f"class {value} of colour {colour!r}; allowed are 0 to 255 and '#rrggbb'"
    return None


def colour_map(table: ClassTable, nodata: float | None) -> dict[int, tuple[int, ...]]:
    """Return red, green, blue, alpha of all 256 values; no-data and unnamed ones transparent."""
    colours = {
        value: (*bytes.fromhex(colour.removeprefix("#")), 255)
        for value, (_, colour) in table.items()
        if value != nodata
    }
    # All are stated: what is left out GDAL fills with opaque black.
    return {value: colours.get(value, _TRANSPARENT) for value in range(256)}


def class_tags(table: ClassTable) -> dict[str, str]:
    """Return the names as metadata of the band: ``CLASS_3=forest``."""
    return {f"CLASS_{value}": name for value, (name, _) in sorted(table.items())}


def class_names_path(raster: Path) -> Path:
    """Where GDAL and QGIS look for the class names of a raster."""
    return raster.with_name(f"{raster.name}.aux.xml")


def class_names_xml(table: ClassTable) -> bytes:
    """Return the content of that file: names by position, from value 0 on."""
    root = ET.Element("PAMDataset")
    categories = ET.SubElement(ET.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    for value in range(max(table) + 1):
        name, _ = table.get(value, ("", ""))
        ET.SubElement(categories, "Category").text = name
    ET.indent(root)
    return f"{ET.tostring(root, encoding='unicode')}\n".encode()
