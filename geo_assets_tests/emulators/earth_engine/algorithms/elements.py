"""Properties of images and features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from geo_assets_tests.emulators.earth_engine.algorithms.registry import algorithm


@algorithm("Element.set")
def _set(object: Any, key: str, value: Any) -> Any:
    return replace(object, properties={**object.properties, key: value})


@algorithm("Element.get")
def _get(object: Any, property: str) -> Any:
    return object.properties.get(property)


@algorithm("Element.setMulti")
def _set_multi(object: Any, properties: dict[str, Any]) -> Any:
    return replace(object, properties={**object.properties, **properties})


@algorithm("Element.copyProperties", "Image.copyProperties", "Feature.copyProperties")
def _copy_properties(
    destination: Any, source: Any, properties: Any = None, exclude: Any = None
) -> Any:
    names = properties or [name for name in source.properties if not name.startswith("system:")]
    taken = {n: source.properties[n] for n in names if n not in (exclude or [])}
    return replace(destination, properties={**destination.properties, **taken})
