"""What the sections of a campaign are made of: their base, and kinds of values for their keys.

Only what one value says by itself is checked here; what fits together is asked in ``campaign.py``.
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterable

ARCHIVE_PREFIX = "archive:"
"""Marks a path inside the simulated archive, which is written at run time."""

SECRET = "secret"  # noqa: S105  # the type of an error, not a secret
"""Type of the error about a value that is a secret: such a value is never shown."""

SECRETS_BELONG_ELSEWHERE = (
    "looks like a secret; secrets belong in the environment, never in a campaign file"
)

_SECRET_WORDS = re.compile(
    r"token|passw|passphrase|secret|credential|signature|authorization|api_?key|"
    r"(^|_)(key|pwd|sig|auth|bearer)(_|$)"
)
_CRS_CODE = r"^(auto|EPSG:[0-9]{4,6})$"
_BARE_CODE = r"\s*(?:epsg\s*:?)?\s*([0-9]{4,6})\s*"
_OWNER = r"^(team:.+|[A-Za-z0-9_][A-Za-z0-9._%+-]*@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$"


class Section(BaseModel):
    """A part of a campaign: immutable, without unknown keys, infinities and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def refuse_idle(self, keys: Iterable[str], needed: str) -> None:
        """Refuse keys that were given and change nothing: whoever wrote them expects otherwise.

        Args:
            keys: Of this section, those that nothing reads as it stands.
            needed: With what they would be read.

        Raises:
            ValueError: One of them holds other than its default.
        """
        for key in keys:
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                msg = f"'{key}' changes nothing without {needed} (got {value}); remove it"
                raise ValueError(msg)


def looks_secret(key: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return _SECRET_WORDS.search(words.lower().replace("-", "_")) is not None


def _beside_the_campaign(path: Path, info: ValidationInfo) -> Path:
    """Resolve a path against the campaign's folder, given as validation context."""
    if str(path).startswith(ARCHIVE_PREFIX) or path.is_absolute():
        return path
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder, path).resolve()


def _no_timestamp(value: object) -> object:
    """Refuse a number where a date is asked for: pydantic would count seconds from 1970."""
    if isinstance(value, int | float):
        raise PydanticCustomError("date_type", "must be a date")
    return value


def _crs_code(value: object) -> object:
    """Refuse what is no CRS in words that say what to write."""
    text = "" if isinstance(value, bool) else str(value)
    if isinstance(value, str) and re.fullmatch(_CRS_CODE, text):
        return value
    bare = re.fullmatch(_BARE_CODE, text, re.IGNORECASE)
    hint = f"; write EPSG:{bare[1]}" if bare else " such as EPSG:32637"
    msg = f"must be 'auto' or an EPSG code{hint}"
    raise ValueError(msg)


def _url_or_path(value: str, info: ValidationInfo) -> str:
    """Leave a URL as it is, if it carries no secret; resolve a path against the folder."""
    if "://" not in value:
        return str(_beside_the_campaign(Path(value), info))
    try:
        url = urlsplit(value)
    except ValueError as error:
        raise PydanticCustomError(SECRET, "is not a URL") from error
    if "@" in url.netloc or any(looks_secret(key) for key, _ in parse_qsl(url.query)):
        raise PydanticCustomError(
            SECRET,
            f"the URL carries what {SECRETS_BELONG_ELSEWHERE}",
        )
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Becomes a partition key, an asset key or a folder's name."""
CampaignPath = Annotated[Path, AfterValidator(_beside_the_campaign)]
"""A path, relative to the campaign's file."""
CatalogAddress = Annotated[str, AfterValidator(_url_or_path)]
"""A URL without secrets, or a path relative to the campaign's file."""
CrsCode = Annotated[str, StringConstraints(pattern=_CRS_CODE), BeforeValidator(_crs_code)]
"""``auto`` or an EPSG code. Whether the code exists is asked by ``geo-assets doctor``."""
Band = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Name of a band."""
Day = Annotated[dt.date, BeforeValidator(_no_timestamp)]
"""A day, as YAML writes it: 2021-05-01."""
Owner = Annotated[str, StringConstraints(pattern=_OWNER)]
"""Owner of an asset, as Dagster wants it."""
ClassValue = Annotated[StrictInt, Field(ge=1, le=254)]
"""Value of a class in the label band; 0 is background, 255 is ignore."""
