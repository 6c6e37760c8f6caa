"""Bodies of requests, read once an expression; the chip that a grid stands for.

The same expression comes with every chip of a composite, and only the grid differs: it is
recognised by its text and neither parsed nor evaluated again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from geo_assets_tests.emulators.earth_engine.service_errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MARK = b'"expression":'
_KEPT = 32
_DECODER = json.JSONDecoder()


@dataclass
class Expression:
    """One expression, with what it was evaluated to."""

    digest: str
    graph: dict[str, Any]
    _value: Any = None
    _evaluated: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def value(self, evaluate: Callable[[dict[str, Any]], Any]) -> Any:
        """Return the value, which is computed by the first thread that asks."""
        with self._lock:
            if not self._evaluated:
                self._value = evaluate(self.graph)
                self._evaluated = True
            return self._value


@dataclass
class Bodies:
    """Reads bodies; remembers the expressions that came last."""

    _known: OrderedDict[bytes, Expression] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, body: bytes) -> tuple[Expression, dict[str, Any]]:
        """Return a body's expression and its other fields.

        Raises:
            ServiceError: If it is no JSON object with an expression.
        """
        start = body.find(_MARK) + len(_MARK)
        if start >= len(_MARK):
            while body[start : start + 1] == b" ":
                start += 1
            known = self._recall(body, start)
            if known is not None:
                text, expression = known
                rest = body[:start] + b"null" + body[start + len(text) :]
                return expression, parsed(rest)
        return self._learn(body, start)

    def forget(self) -> None:
        """Evaluate anew what comes next."""
        with self._lock:
            self._known.clear()

    def _recall(self, body: bytes, start: int) -> tuple[bytes, Expression] | None:
        with self._lock:
            for text in reversed(self._known):
                if body.startswith(text, start):
                    self._known.move_to_end(text)
                    return text, self._known[text]
        return None

    def _learn(self, body: bytes, start: int) -> tuple[Expression, dict[str, Any]]:
        fields = parsed(body)
        graph = fields.get("expression")
        if not isinstance(graph, dict):
            raise invalid("Expression is required.")
        # Text and graph must agree before the text stands for it: the mark could be part of a
        # string, and an object alone ends where its text ends.
        text = _text_of(body, start, graph)
        digest = hashlib.sha256(text or body).hexdigest()
        expression = Expression(digest, graph)
        if text is not None:
            with self._lock:
                expression = self._known.setdefault(text, expression)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return expression, fields


def parsed(body: bytes) -> dict[str, Any]:
    """Return a body's fields.

    Raises:
        ServiceError: If it is no JSON object.
    """
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    if not isinstance(fields, dict):
        raise invalid("Invalid JSON payload received. An object is expected.")
    return fields


def _text_of(body: bytes, start: int, graph: dict[str, Any]) -> bytes | None:
    text = body[start:].decode()
    if not text.startswith("{"):
        return None
    found, length = _DECODER.raw_decode(text)
    return text[:length].encode() if found == graph else None


def lattice_window(grid: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Return (row, column, height, width) of a request's grid, in pixels from the CRS origin.

    Raises:
        ServiceError: If the grid lacks its size or its transform.
    """
    try:
        size, transform = grid["dimensions"], grid["affineTransform"]
        row = round(transform.get("translateY", 0) / transform["scaleY"])
        column = round(transform.get("translateX", 0) / transform["scaleX"])
        return row, column, int(size["height"]), int(size["width"])
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise invalid(f"Pixel grid is incomplete: {error}") from error


def chip_key(grid: Mapping[str, Any]) -> str:
    """Return the name of a grid in the ledger and in scripts: ``row_column_heightxwidth``."""
    row, column, height, width = lattice_window(grid)
    return f"{row}_{column}_{height}x{width}"
