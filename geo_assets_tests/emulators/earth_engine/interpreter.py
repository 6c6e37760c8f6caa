"""Evaluates an expression graph: every kind of node that the client serialises.

https://developers.google.com/earth-engine/reference/rest/v1/Expression
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from geo_assets_tests.emulators.earth_engine.algorithms import ALGORITHMS
from geo_assets_tests.emulators.earth_engine.values import Image, bad_request, remembered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets_tests.emulators.earth_engine.assets import Assets


@dataclass(frozen=True)
class _Scope:
    """Arguments in sight, and the values that were evaluated with them."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)


class Interpreter:
    """Evaluates one expression against the assets of a service."""

    def __init__(self, expression: Mapping[str, Any], assets: Assets) -> None:
        self._values: Mapping[str, Any] = expression.get("values") or {}
        self._result = str(expression.get("result"))
        self._assets = assets

    def result(self) -> Any:
        """Return what the expression is.

        Raises:
            ServiceError: If it is no expression, or one that this service cannot evaluate.
        """
        return self._reference(self._result, _Scope())

    def _reference(self, name: str, scope: _Scope) -> Any:
        if name not in self._values:
            raise bad_request(f"Invalid argument: no value {name!r} in the expression.")
        # With the same arguments a value is the same wherever it is referred to; so are its
        # pixels, which would else be made once a reference.
        if name not in scope.known:
            value = self._node(self._values[name], scope)
            scope.known[name] = remembered(value) if isinstance(value, Image) else value
        return scope.known[name]

    def _node(self, node: Mapping[str, Any], scope: _Scope) -> Any:  # noqa: PLR0911  # a kind each
        [(kind, content)] = node.items()
        match kind:
            case "constantValue":
                return content
            case "integerValue":
                return int(content)
            case "bytesValue":
                return content
            case "valueReference":
                return self._reference(str(content), scope)
            case "argumentReference":
                return scope.arguments[content]
            case "arrayValue":
                return [self._node(item, scope) for item in content.get("values", [])]
            case "dictionaryValue":
                values = content.get("values", {})
                return {key: self._node(item, scope) for key, item in values.items()}
            case "functionDefinitionValue":
                return self._function(content, scope)
            case "functionInvocationValue":
                return self._invocation(content, scope)
        raise bad_request(f"Invalid argument: a node of the unknown kind {kind!r}.")

    def _function(self, content: Mapping[str, Any], scope: _Scope) -> Any:
        names = content.get("argumentNames", [])

        def function(*arguments: Any, **named: Any) -> Any:
            given = named or dict(zip(names, arguments, strict=True))
            inner = {**scope.arguments, **given}
            return self._reference(str(content["body"]), _Scope(inner))

        return function

    def _invocation(self, content: Mapping[str, Any], scope: _Scope) -> Any:
        arguments = {
            name: self._node(value, scope) for name, value in content.get("arguments", {}).items()
        }
        if "functionReference" in content:
            return self._reference(str(content["functionReference"]), scope)(**arguments)
        name = content["functionName"]
        if name not in ALGORITHMS:
            raise bad_request(f"Unknown algorithm {name!r} in this loopback service.")
        algorithm = ALGORITHMS[name]
        if algorithm.needs_assets:
            return algorithm.function(self._assets, **arguments)
        return algorithm.function(**arguments)
