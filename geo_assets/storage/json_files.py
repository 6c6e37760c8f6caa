"""JSON files of results, read back: of the form that was written, or an error that names the file.

They are written by ``atomic.publish_json``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


def read_json(path: Path, form: Callable[[Any], T], what: str, advice: str) -> T | None:
    """Return what a JSON file holds; None where there is none.

    Args:
        path: The file.
        form: Makes the result of the file's value; what it raises of a value of another form
            (``KeyError``, ``TypeError``, ...) is damage of the file.
        what: What the file should be, as ``model``.
        advice: What to do if it is not.

    Raises:
        StorageError: If the file cannot be read, or holds something else.
    """
    try:
        return form(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StorageError(f"{path}: is no {what} ({error!r}); {advice}") from error
