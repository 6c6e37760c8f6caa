"""Finding and loading a campaign's file, with errors that say what to change.

``GEO_ASSETS_CAMPAIGN`` names a packaged campaign or the path of a YAML file.
"""

from __future__ import annotations

import difflib
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from geo_assets.campaign import Campaign
from geo_assets.campaign_environment import read_env_file
from geo_assets.campaign_values import SECRET, SECRETS_BELONG_ELSEWHERE, looks_secret
from geo_assets.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from pydantic_core import ErrorDetails

CAMPAIGN_VARIABLE = "GEO_ASSETS_CAMPAIGN"
DEFAULT_CAMPAIGN = "demo"

_LONGEST_VALUE = 80


def packaged_campaigns() -> list[str]:
    """Names of the campaigns that come with the package."""
    folder = Path(str(files("geo_assets") / "campaigns"))
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_campaign(name_or_path: str | None = None) -> Path:
    """Return the file of a campaign.

    Args:
        name_or_path: Name of a packaged campaign or path of a YAML file; by default what
            ``GEO_ASSETS_CAMPAIGN`` says, else ``demo``.

    Raises:
        CampaignError: If there is neither.
    """
    wanted = name_or_path or os.environ.get(CAMPAIGN_VARIABLE) or DEFAULT_CAMPAIGN
    packaged = packaged_campaigns()
    if wanted in packaged:
        return Path(str(files("geo_assets") / "campaigns" / f"{wanted}.yaml"))
    path = Path(wanted).expanduser()
    if path.is_file():
        return path.resolve()
    found = "is a folder" if path.is_dir() else "is not there"
    raise CampaignError(
        f"campaign {wanted!r}: {found}; allowed is the path of a YAML file (--campaign or "
        f"{CAMPAIGN_VARIABLE}) or one of {', '.join(packaged)}"
    )


def load_campaign(name_or_path: str | None = None) -> Campaign:
    """Load and validate a campaign; see ``find_campaign`` for the argument.

    The ``.env`` files of the working directory and of the campaign's folder are read first.

    Raises:
        CampaignError: Naming the file, each wrong key, its value and what is allowed.
    """
    read_env_file()
    path = find_campaign(name_or_path)
    read_env_file(path.parent)
    content = _parsed(path)
    try:
        return Campaign.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        lines = _explain(error.errors())
    raise CampaignError("\n".join(f"{path.name}: {line}" for line in lines))


def campaign_schema() -> dict[str, Any]:
    """Return the JSON schema of a campaign file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Campaign.model_json_schema(),
    }


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that is given twice instead of taking the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = key.value
            if isinstance(key, yaml.ScalarNode) and name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {name!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(name if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)

    def construct_day(self, node: yaml.ScalarNode) -> Any:
        """Leave a day that the calendar does not have as text: its key can then be named."""
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError:
            return node.value


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_day)


def _parsed(path: Path) -> dict[Any, Any]:
    """Return the content of a campaign's file; its text, which may hold a secret, is not shown."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise CampaignError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CampaignError(f"{path.name}: not UTF-8 text, byte {error.start} is none") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CampaignError(f"{path.name}{where}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a number without digits, such as 0x_.
        raise CampaignError(f"{path.name}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"the {type(content).__name__} {_shown(content)}"
        raise CampaignError(f"{path.name}: a campaign is a mapping of keys, got {found}")
    return content


def _explain(details: Sequence[ErrorDetails]) -> list[str]:
    """Return one line for each wrong key: where it is, what is allowed, what it is."""
    lines: dict[tuple[int | str, ...], list[str]] = {}
    values: dict[tuple[int | str, ...], str] = {}
    for detail in details:
        keys = _keys_of(detail["loc"])
        text, value = _told(detail)
        lines.setdefault(keys, []).append(text)
        values[keys] = value
    # A wrong item makes its list too short in pydantic's eyes: the item alone is worth a line.
    culprits = [
        keys
        for keys in lines
        if not any(other[: len(keys)] == keys and other != keys for other in lines)
    ]
    return [
        f"{where}: {line}" if (where := ".".join(str(key) for key in keys)) else line
        for keys in culprits
        for line in f"{', or '.join(dict.fromkeys(lines[keys]))}{values[keys]}".split("\n")
    ]


def _told(detail: ErrorDetails) -> tuple[str, str]:  # noqa: PLR0911  # one line for each type
    """What one error says, and the value it is about (nothing, where that may be a secret)."""
    kind, value = detail["type"], detail["input"]
    shown = f" (got {_shown(value)})"
    match kind:
        case "extra_forbidden":
            return _unknown_key(detail["loc"]), ""
        case "missing" | "union_tag_not_found":
            where = (
                f"'{detail['ctx']['discriminator'].strip(chr(39))}' is " if "ctx" in detail else ""
            )
            return f"{where}missing", ""
        case "union_tag_invalid":
            context = detail["ctx"]
            return f"kind must be one of {context['expected_tags']}", f" (got {context['tag']!r})"
        case "tuple_type":
            return "must be a list", shown
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a mapping of keys", shown
        case "string_type" if isinstance(value, bool | int | float):
            return "must be text; put it in quotes", shown
        case "value_error":
            message = detail["msg"].removeprefix("Value error, ")
            return message, "" if isinstance(value, dict) else shown
        case "too_short":
            return f"must hold at least {detail['ctx']['min_length']}", shown
        case _ if kind.startswith("date_"):
            return "must be a day that exists, YYYY-MM-DD such as 2021-05-01", shown
        case _ if kind == SECRET:
            return detail["msg"], ""
        case _:
            _, _, rest = detail["msg"].partition(" should ")
            return f"must {rest}", shown


def _unknown_key(location: Sequence[int | str]) -> str:
    key = str(location[-1])
    if looks_secret(key):
        return SECRETS_BELONG_ELSEWHERE
    allowed = _allowed_at(location[:-1])
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown key{hint} Allowed here: {', '.join(allowed)}"


def _shown(value: object) -> str:
    """A value for people: short, and of mappings, which may hold secrets, the keys alone."""
    if isinstance(value, dict):
        return f"a mapping of {', '.join(str(key) for key in value) or 'nothing'}"
    if isinstance(value, list):
        text = f"[{', '.join(_shown(item) for item in value)}]"
    else:
        text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _imagery_models() -> dict[str, type[BaseModel]]:
    """The model of each kind of imagery."""
    models = _models_in(Campaign.model_fields["imagery"].annotation)
    return {get_args(model.model_fields["kind"].annotation)[0]: model for model in models}


def _keys_of(location: Sequence[int | str]) -> tuple[int | str, ...]:
    """A location without what pydantic adds for the members of the unions of a campaign."""
    match tuple(location):
        case ("imagery", str(kind), *rest) if kind in _imagery_models():
            return ("imagery", *rest)
        case (section, "resolution" | "n_clusters" as key, *_):
            return (section, key)
        case keys:
            return keys


def _allowed_at(location: Sequence[int | str]) -> list[str]:
    """Keys that a section of the campaign knows."""
    model: type[BaseModel] = Campaign
    for part in location:
        if model is Campaign and part == "imagery":
            continue
        if kind := _imagery_models().get(str(part)):
            model = kind
        else:
            model = _models_in(model.model_fields[str(part)].annotation)[0]
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that a type annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
