"""The service's algorithms, as far as this loopback service knows them."""

from geo_assets_tests.emulators.earth_engine.algorithms import (
    collections,
    dates,
    elements,
    filters,
    geometries,
    image_math,
    image_structure,
    masks,
    pictures,
    reducers,
    tables,
)
from geo_assets_tests.emulators.earth_engine.algorithms.registry import ALGORITHMS

__all__ = [
    "ALGORITHMS",
    "collections",
    "dates",
    "elements",
    "filters",
    "geometries",
    "image_math",
    "image_structure",
    "masks",
    "pictures",
    "reducers",
    "tables",
]
