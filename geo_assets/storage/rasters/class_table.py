"""Names and colours of the classes of a label raster, in the forms that GDAL and QGIS read.

GeoTIFF stores a colour table and has no place for names. GDAL keeps them in
``{name}.tif.aux.xml``, its persistent auxiliary metadata
(https://gdal.org/en/stable/drivers/raster/pam.html). From there QGIS makes the legend of a raster
of one band: newer versions from the raster attribute table, older ones from the category names.
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

# Columns of the attribute table, with GDAL's numbers for type and usage (gdal_rat.h).
_INTEGER, _STRING = 0, 2
_COLUMNS = [
    ("Value", _INTEGER, 5),
    ("Class", _STRING, 2),
    ("Red", _INTEGER, 6),
    ("Green", _INTEGER, 7),
    ("Blue", _INTEGER, 8),
]


def problem_of(table: ClassTable) -> str | None:
    """Say what is wrong with a class table, or None."""
    for value, (_, colour) in table.items():
        if not 0 <= value <= 255 or not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            return f"class {value} of colour {colour!r}; allowed are 0 to 255 and '#rrggbb'"
    return None


def colour_map(table: ClassTable) -> dict[int, tuple[int, ...]]:
    """Return red, green, blue, alpha of each class; GeoTIFF makes the no-data value transparent."""
    return {value: (*_red_green_blue(colour), 255) for value, (_, colour) in table.items()}


def class_tags(table: ClassTable) -> dict[str, str]:
    """Return the names as metadata of the band: ``CLASS_3=forest``."""
    return {f"CLASS_{value}": name for value, (name, _) in sorted(table.items())}


def class_names_path(raster: Path) -> Path:
    """Where GDAL and QGIS look for the class names of a raster."""
    return raster.with_name(f"{raster.name}.aux.xml")


def class_names_xml(table: ClassTable) -> bytes:
    """Return the content of that file: category names from value 0 on, and the attribute table."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    categories = ET.SubElement(band, "CategoryNames")
    for value in range(max(table) + 1):
        name, _ = table.get(value, ("", ""))
        ET.SubElement(categories, "Category").text = name
    attributes = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(attributes, "FieldDefn", index=str(index))
        ET.SubElement(column, "Name").text = name
        ET.SubElement(column, "Type").text = str(kind)
        ET.SubElement(column, "Usage").text = str(usage)
    for index, (value, (name, colour)) in enumerate(sorted(table.items())):
        row = ET.SubElement(attributes, "Row", index=str(index))
        for cell in (value, name, *_red_green_blue(colour)):
            ET.SubElement(row, "F").text = str(cell)
    ET.indent(root)
    return f"{ET.tostring(root, encoding='unicode')}\n".encode()


def _red_green_blue(colour: str) -> bytes:
    return bytes.fromhex(colour.removeprefix("#"))
