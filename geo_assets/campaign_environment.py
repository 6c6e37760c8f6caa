"""Settings from ``.env`` files: what the environment does not say, they may.

Read are ``.env`` in the working directory, as the programs had it that this package replaces, and
``.env`` beside the campaign's file. The environment beats both, and the working directory the
campaign's folder. Values may be secrets: they go into the environment and are never shown.
https://pypi.org/project/python-dotenv/
"""

from __future__ import annotations

from pathlib import Path

from dotenv import dotenv_values, load_dotenv

from geo_assets.errors import CampaignError

ENV_FILE = ".env"
HERE = Path()
"""The working directory, even if it is gone."""


def read_env_file(folder: Path = HERE) -> None:
    """Put into the environment what a folder's ``.env`` sets and the environment does not.

    Raises:
        CampaignError: If the file cannot be read; its lines are not shown.
    """
    path = folder / ENV_FILE
    try:
        load_dotenv(path)
    except OSError as error:
        raise CampaignError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CampaignError(f"{path}: not UTF-8 text, byte {error.start} is none") from None
    except ValueError:
        raise CampaignError(f"{path}: a value holds a null byte") from None


def names_in_env_file(folder: Path) -> list[str]:
    """Return the names that a folder's ``.env`` sets, without their values; none without a file."""
    return sorted(dotenv_values(folder / ENV_FILE))
