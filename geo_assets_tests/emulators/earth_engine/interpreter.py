"""Evaluates an expression graph: every kind of node that the client serialises.

https://developers.google.com/earth-engine/reference/rest/v1/Expression
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets_tests.emulators.earth_engine.algorithms import ALGORITHMS
from geo_assets_tests.emulators.earth_engine.values import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets_tests.emulators.earth_engine.assets import Assets


class Interpreter:
    """Evaluates one expression against the assets of a service."""

    def __init__(self, expression: Mapping[str, Any], assets: Assets) -> None:
        self._values: Mapping[str, Any] = expression.get("values") or {}
        self._result = str(expression.get("result"))
        self._assets = assets
        self._known: dict[str, Any] = {}

    def result(self) -> Any:
        """Return what the expression is.

        Raises:
            ServiceError: If it is no expression, or one that this service cannot evaluate.
        """
        return self._reference(self._result, {})

    def _reference(self, name: str, environment: Mapping[str, Any]) -> Any:
        if name not in self._values:
            raise bad_request(f"Invalid argument: no value {name!r} in the expression.")
        # Without arguments in sight a value is the same wherever it is referred to.
        if environment:
            return self._node(self._values[name], environment)
        if name not in self._known:
            self._known[name] = self._node(self._values[name], environment)
        return self._known[name]

    def _node(self, node: Mapping[str, Any], environment: Mapping[str, Any]) -> Any:  # noqa: PLR0911  # a kind each
        [(kind, content)] = node.items()
        match kind:
            case "constantValue":
                return content
            case "integerValue":
                return int(content)
            case "bytesValue":
                return content
            case "valueReference":
                return self._reference(str(content), environment)
            case "argumentReference":
                return environment[content]
            case "arrayValue":
                return [self._node(item, environment) for item in content.get("values", [])]
            case "dictionaryValue":
                values = content.get("values", {})
                return {key: self._node(item, environment) for key, item in values.items()}
            case "functionDefinitionValue":
                return self._function(content, environment)
            case "functionInvocationValue":
                return self._invocation(content, environment)
        raise bad_request(f"Invalid argument: a node of the unknown kind {kind!r}.")

    def _function(self, content: Mapping[str, Any], environment: Mapping[str, Any]) -> Any:
        names = content.get("argumentNames", [])

        def function(*arguments: Any) -> Any:
            inner = {**environment, **dict(zip(names, arguments, strict=True))}
            return self._reference(str(content["body"]), inner)

        return function

    def _invocation(self, content: Mapping[str, Any], environment: Mapping[str, Any]) -> Any:
        arguments = {
            name: self._node(value, environment)
            for name, value in content.get("arguments", {}).items()
        }
        if "functionReference" in content:
            return self._reference(str(content["functionReference"]), environment)(
                *arguments.values()
            )
        name = content["functionName"]
        if name not in ALGORITHMS:
            raise bad_request(f"Unknown algorithm {name!r} in this loopback service.")
        algorithm = ALGORITHMS[name]
        if algorithm.needs_assets:
            return algorithm.function(self._assets, **arguments)
        return algorithm.function(**arguments)
