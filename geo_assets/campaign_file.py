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
from geo_assets.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

CAMPAIGN_VARIABLE = "GEO_ASSETS_CAMPAIGN"
DEFAULT_CAMPAIGN = "demo"


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
    packaged = Path(str(files("geo_assets") / "campaigns" / f"{wanted}.yaml"))
    if Path(wanted).name == wanted and packaged.is_file():
        return packaged
    path = Path(wanted).expanduser()
    if path.is_file():
        return path.resolve()
    raise CampaignError(
        f"{CAMPAIGN_VARIABLE}={wanted!r}: no such campaign; allowed is the path of a YAML file "
        f"or one of {', '.join(packaged_campaigns())}"
    )


def load_campaign(name_or_path: str | None = None) -> Campaign:
    """Load and validate a campaign; see ``find_campaign`` for the argument.

    Raises:
        CampaignError: Naming the file, each wrong key, its value and what is allowed.
    """
    path = find_campaign(name_or_path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CampaignError(f"{path.name}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise CampaignError(f"{path.name}: a campaign is a mapping of keys, got {content!r}")
    try:
        return Campaign.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors()]
        raise CampaignError("\n".join(f"{path.name}: {line}" for line in lines)) from error


def _explain(detail: ErrorDetails) -> str:
    """One line for one wrong value: where it is, what it is, what is allowed."""
    where = ".".join(str(part) for part in detail["loc"] if not _is_a_tag(part))
    if detail["type"] == "extra_forbidden":
        allowed = _keys_at(detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where}: unknown key{hint} Allowed here: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return f"{where}: missing"
    message = detail["msg"].removeprefix("Value error, ")
    if not where:
        return message
    return f"{where}: {message} (got {_shortened(detail['input'])})"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_KINDS = {"stac", "raster", "simulated", "earth-engine"}


def _is_a_tag(part: str | int) -> bool:
    """Whether a piece of a location is pydantic's own (a union's member), not a key of the file."""
    return isinstance(part, str) and (
        part in _KINDS or "[" in part or part in {"constrained-str", "constrained-float"}
    )


def _keys_at(location: Sequence[str | int]) -> list[str]:
    """Keys that a section of the campaign knows."""
    model: Any = Campaign
    for part in location:
        if isinstance(part, str) and part in _KINDS:
            model = next(
                kind
                for kind in _models_in(Campaign.model_fields["imagery"].annotation)
                if get_args(kind.model_fields["kind"].annotation) == (part,)
            )
        elif isinstance(part, str) and part in model.model_fields:
            models = _models_in(model.model_fields[part].annotation)
            model = models[0] if len(models) == 1 else model
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that a type annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
