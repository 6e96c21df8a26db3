"""values.schema.json of a chart: strict, so that a typo is refused instead of ignored."""

from collections.abc import Container, Iterable
from typing import Final

from igpo_charts.values import Schema, Value

_TYPES: Final[dict[type, str]] = {
    bool: "boolean",  # before int, whose child it is
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}
_GLOBAL: Final = {"type": "object", "description": "Values that Helm shares between charts."}


def schema_of(values: Iterable[Value], subcharts: Container[str] = ()) -> Schema:
    """The JSON schema of a chart's values. Helm adds a value `global` of its own, and one to those of each subchart."""
    root = _map(values)
    for name, schema in root["properties"].items():
        if name in subcharts:
            schema["properties"]["global"] = _GLOBAL
    root["properties"]["global"] = _GLOBAL
    return {"$schema": "http://json-schema.org/draft-07/schema#"} | root


def _map(values: Iterable[Value]) -> Schema:
    properties = {value.name: _described(value) for value in values}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _described(value: Value) -> Schema:
    about = {"description": value.text} if value.text else {}
    return about | _schema(value)


def _schema(value: Value) -> Schema:
    if value.free:
        return dict(value.directive)
    if value.children:
        return _map(value.children) | value.directive
    return _type(value.default) | value.directive


def _type(default: object) -> Schema:
    """What a default says about the type; one that is empty says nothing."""
    return next(({"type": name} for kind, name in _TYPES.items() if isinstance(default, kind)), {})
