"""Structural schema of the API server, from the pydantic models: references inlined, optional means absent.

What OpenAPI cannot say becomes a CEL rule: see `rules`.
"""

import json
from collections.abc import Iterator
from enum import EnumMeta
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from igpo_operator.api.formats import REMEDIES
from igpo_operator.api.rule import Rule, matches
from igpo_operator.api.rules import LIST_KEYS, rules_of

JSONSchema = dict[str, Any]

_KEPT: Final = (
    "type",
    "format",
    "enum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "minimum",
    "maximum",
)
LONGEST_STATUS_TEXT: Final = 32_768
"""Bound of status texts whose model has none: generous, since the API server must never refuse a status."""


@cache
def structural(model: type[BaseModel], *, status: bool = False) -> JSONSchema:
    """Schema of one model's object, its own rules included.

    The result is shared: do not change it in place. In status, values to choose from stay open texts: an older CRD must
    not refuse what a newer operator writes.
    """
    return _Converter(model, status=status).object()


def field_name(name: str, field: FieldInfo) -> str:
    """Name of a field as it stands in YAML."""
    return field.alias or name


class _Converter:
    """Turns the JSON schema that pydantic writes for a model into a structural one."""

    def __init__(self, model: type[BaseModel], *, status: bool) -> None:
        self._model = model
        self._status = status
        self._schema = model.model_json_schema(by_alias=True)
        if "$ref" in self._schema:  # a model that mentions itself: none does
            raise ValueError(f"{model.__name__} is recursive; a structural schema cannot be")
        self._enums = self._schema.get("$defs", {})

    def object(self) -> JSONSchema:
        properties = {
            field_name(name, field): self._property(name, field) for name, field in self._model.model_fields.items()
        }
        schema: JSONSchema = {"type": "object", "properties": properties}
        if "required" in self._schema:
            schema["required"] = self._schema["required"]
        return with_rules(schema, rules_of(self._model))

    def _property(self, name: str, field: FieldInfo) -> JSONSchema:
        yaml_name = field_name(name, field)
        models = {model.__name__: model for model in _models_in(field.annotation)}
        schema = self._value(self._schema["properties"][yaml_name], models)
        keys = LIST_KEYS.get((self._model.__name__, yaml_name))
        if keys:
            schema = schema | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
        described = {"description": field.description} if field.description else {}
        return described | schema | self._default(field)

    def _default(self, field: FieldInfo) -> JSONSchema:
        if field.is_required() or self._status:
            return {}
        default = _stored(field.get_default(call_default_factory=True, validated_data={}))
        return {} if default is None else {"default": default}

    def _value(self, given: JSONSchema, models: dict[str, type[BaseModel]]) -> JSONSchema:
        if "$ref" in given:
            name = given["$ref"].rsplit("/", 1)[1]
            if name in models:
                return structural(models[name], status=self._status)
            return self._value(self._enums[name], models)
        if "anyOf" in given:
            return self._union([branch for branch in given["anyOf"] if branch.get("type") != "null"], models)
        schema: JSONSchema = {key: given[key] for key in _KEPT if key in given}
        if "const" in given:
            schema["enum"] = [given["const"]]
        if self._status and "enum" in schema:
            schema = {"type": "string"}
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if exclusive in given:
                schema |= {bound: given[exclusive], exclusive: True}
        if schema["type"] == "array":
            schema["items"] = self._value(given.get("items") or given["prefixItems"][0], models)
        if schema["type"] == "object":
            return self._map(schema, given, models)
        if schema["type"] == "string" and not ({"maxLength", "enum", "format"} & schema.keys()) and self._status:
            schema["maxLength"] = LONGEST_STATUS_TEXT
        return with_rules(schema, _pattern_rules(given))

    def _union(self, branches: list[JSONSchema], models: dict[str, type[BaseModel]]) -> JSONSchema:
        if len(branches) == 1:
            return self._value(branches[0], models)
        number, text = sorted(branches, key=lambda branch: str(branch["type"]))
        if (number["type"], text["type"]) != ("integer", "string"):
            raise ValueError(
                f"a union of {json.dumps(branches)} has no structural schema; use a whole number or a text"
            )
        schema: JSONSchema = {"x-kubernetes-int-or-string": True}
        if "pattern" in text:
            # Bounds of a number and the pattern of a text each concern their own kind of value.
            keys = ("minimum", "maximum", "pattern", "maxLength")
            return schema | {key: (number | text)[key] for key in keys if key in number | text}
        least, most, word = number["minimum"], number["maximum"], text["const"]
        rule = Rule(
            f"type(self) == int ? self >= {least} && self <= {most} : self == '{word}'",
            f"must be {word} or a whole number from {least} to {most}",
        )
        return with_rules(schema, [rule])

    def _map(self, schema: JSONSchema, given: JSONSchema, models: dict[str, type[BaseModel]]) -> JSONSchema:
        patterns = given.get("patternProperties", {})
        values = next(iter(patterns.values())) if patterns else given["additionalProperties"]
        schema["additionalProperties"] = self._value(values, models)
        if self._status:
            return schema
        names = given["propertyNames"]
        least, most = names.get("minLength", 0), names["maxLength"]
        rules = [
            Rule(
                f"self.all(key, size(key) >= {least} && size(key) <= {most})",
                f"has a key of another length than {least} to {most} characters; shorten it",
            )
        ]
        rules += [
            Rule(f"self.all(key, {matches('key', pattern)})", f"has a key that {REMEDIES[pattern]}")
            for pattern in patterns
        ]
        return with_rules(schema, rules)


def with_rules(schema: JSONSchema, rules: list[Rule]) -> JSONSchema:
    """Add CEL rules to a schema."""
    if not rules:
        return schema
    return schema | {
        "x-kubernetes-validations": [
            *schema.get("x-kubernetes-validations", []),
            *(rule.document() for rule in rules),
        ]
    }


def _pattern_rules(given: JSONSchema) -> list[Rule]:
    """A pattern as a rule, because the API server's own message for a pattern is the bare expression."""
    pattern = given.get("pattern")
    return [Rule(matches("self", pattern), REMEDIES[pattern])] if pattern else []


def _stored(value: object) -> object:
    """A default as the API server shall store it: written out in full, because rules look into it; None: nothing."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        entries = {field_name(name, field): _stored(getattr(value, name)) for name, field in fields}
        return {name: entry for name, entry in entries.items() if entry is not None}
    if isinstance(value, tuple | dict):
        return [_stored(item) for item in value] or None
    return value


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, EnumMeta) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, tuple, list, dict, Annotated):
        for part in get_args(annotation):
            yield from _models_in(part)
