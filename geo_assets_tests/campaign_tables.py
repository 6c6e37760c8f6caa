"""The tables of docs/campaigns.md, made from the campaign's models.

    .venv/bin/python -m geo_assets_tests.campaign_tables

writes them between the markers of that file; a test asserts that nobody forgot to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from geo_assets.campaign import Campaign
from geo_assets_tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = REPOSITORY / "docs" / "campaigns.md"
BEGIN, END = "<!-- begin keys -->", "<!-- end keys -->"


def tables() -> str:
    """Return one table a section, in the order of the campaign's fields, as Markdown."""
    schema = Campaign.model_json_schema()
    parts = []
    for heading, section in _sections(schema):
        required = section.get("required", [])
        lines = [
            f"### {heading}",
            "",
            section["description"].split("\n")[0],
            "",
            "| key | allowed | default | what |",
            "|---|---|---|---|",
        ]
        for key, field in section["properties"].items():
            allowed = _allowed(field, schema).replace("|", "\\|")
            what = field.get("description") or _described(field, schema)
            default = "*required*" if key in required else f"`{_default(field.get('default'))}`"
            lines.append(f"| `{key}` | {allowed} | {default} | {what} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def page_with(text: str) -> str:
    """Return the page with its tables replaced."""
    page = PAGE.read_text(encoding="utf-8")
    block = f"{BEGIN}\n\n{text}\n\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, page, flags=re.DOTALL)


def _sections(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "The campaign itself", schema
    for key, field in schema["properties"].items():
        for name in _references(field):
            section = schema["$defs"][name]
            kind = section["properties"].get("kind", {}).get("const")
            yield (f"`{key}`, `kind: {kind}`" if kind else f"`{key}`"), section
            for inner, part in section["properties"].items():
                for reference in _references(part):
                    yield f"`{key}.{inner}`", schema["$defs"][reference]


def _references(field: dict[str, Any]) -> list[str]:
    """Names of the sections that a field holds."""
    options = [field, *field.get("anyOf", []), *field.get("oneOf", [])]
    return [option["$ref"].rsplit("/", 1)[-1] for option in options if "$ref" in option]


def _described(field: dict[str, Any], schema: dict[str, Any]) -> str:
    names = _references(field)
    if len(names) != 1:
        return "One of the kinds below." if names else ""
    return schema["$defs"][names[0]]["description"].split("\n")[0]


def _allowed(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a field takes, in words."""
    options = field.get("anyOf") or field.get("oneOf")
    if options:
        words = [_allowed(option, schema) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "$ref" in field:
        return "section, below"
    if "const" in field or "enum" in field:
        return " ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        items = field.get("items") or field["prefixItems"][0]
        number = "" if "items" in field else f"{len(field['prefixItems'])} × "
        return f"list of {number}{_allowed(items, schema)}"
    if field.get("type") == "object":
        values = field.get("additionalProperties") or next(
            iter(field.get("patternProperties", {}).values()), {}
        )
        return f"mapping, values {_allowed(values, schema)}"
    name = field.get("format", "")
    name = name if name in {"date", "path"} else field.get("type", "text")
    return {"string": "text", "boolean": "`true` `false`"}.get(name, name) + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {field[name]:.10g}" for name, sign in signs.items() if name in field]
    return f" {', '.join(found)}" if found else ""


def _default(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "as below"
    if isinstance(value, list):
        return f"[{', '.join(str(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


if __name__ == "__main__":
    PAGE.write_text(page_with(tables()), encoding="utf-8")
