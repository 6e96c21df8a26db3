"""A commented values.yaml as a tree of documented values.

The comment right above a key belongs to it:

    # -- Text of the README, over as many lines as it takes.
    # @default -- what the README shows in the place of the default
    # @schema {minimum: 1}
    key: 1

`# @schema` is a piece of JSON schema in YAML: with `type`, `enum` or `$ref` it stands in the place of what the default
says, else it is added to that. A map in braces is one value, whose keys are free. `# @model module:Class except a b`
takes the fields of a pydantic model, in camelCase.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

Schema = dict[str, Any]

_WHOLE: Final = {"type", "enum", "$ref"}
"""Keys of a directive that make it the whole schema of a value."""
_SAID_ELSEWHERE: Final = {"title", "description", "default"}


class InvalidValuesError(ValueError):
    """A comment cannot be read; the message has file and line."""


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml."""

    name: str
    default: object
    text: str = ""
    shown_default: str | None = None
    directive: Schema = field(default_factory=dict)
    children: tuple["Value", ...] = ()
    """Keys below, unless the directive says that the map is free."""

    @property
    def free(self) -> bool:
        """Whether a directive alone says what the value may be."""
        return bool(_WHOLE & self.directive.keys())


def read_values(path: Path) -> tuple[Value, ...]:
    """The values of a chart, in the order of the file; InvalidValuesError."""
    text = path.read_text(encoding="utf-8")
    document = YAML(typ="rt").load(text)
    return _children(document, _Comments(path, text.splitlines())) if document else ()


def _children(mapping: CommentedMap, comments: "_Comments") -> tuple[Value, ...]:
    return tuple(_value(str(name), mapping, name, comments) for name in mapping)


def _value(name: str, mapping: CommentedMap, key: object, comments: "_Comments") -> Value:
    default, line = mapping[key], mapping.lc.key(key)[0]
    comment = comments.above(line, name)
    if comment.model:
        return Value(name, _plain(default), comment.text, comment.default, {}, _fields(comment.model, line, comments))
    free = bool(_WHOLE & comment.schema.keys()) or not isinstance(default, CommentedMap) or default.fa.flow_style()
    children = () if free else _children(default, comments)
    return Value(name, _plain(default), comment.text, comment.default, comment.schema, children)


@dataclass(frozen=True, slots=True)
class _Comment:
    text: str = ""
    default: str | None = None
    schema: Schema = field(default_factory=dict)
    model: str = ""


class _Comments:
    """The comments of a file, by the line of the key below them."""

    def __init__(self, path: Path, lines: Sequence[str]) -> None:
        self._path = path
        self._lines = lines

    def above(self, line: int, name: str) -> _Comment:
        """The comment that ends right above a line; a key of a flow map that shares its line has none."""
        if not re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*:", self._lines[line]):
            return _Comment()
        first = line
        while first > 0 and self._lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return self._read(first, line)

    def problem(self, line: int, text: str) -> InvalidValuesError:
        return InvalidValuesError(f"{self._path}:{line + 1}: {text}")

    def _read(self, first: int, last: int) -> _Comment:
        words: list[str] = []
        default: str | None = None
        schema: Schema = {}
        model, telling = "", False
        for number in range(first, last):
            line = self._lines[number].strip().removeprefix("#").strip()
            if line.startswith("-- "):
                words, telling = [line.removeprefix("-- ")], True
            elif line.startswith("@default -- "):
                default, telling = line.removeprefix("@default -- "), False
            elif line.startswith("@schema "):
                schema, telling = self._schema(number, line.removeprefix("@schema ")), False
            elif line.startswith("@model "):
                model, telling = line.removeprefix("@model "), False
            elif telling:
                words.append(line)
        return _Comment(" ".join(words).strip(), default, schema, model)

    def _schema(self, number: int, text: str) -> Schema:
        schema = YAML(typ="safe", pure=True).load(text)
        if not isinstance(schema, dict):
            raise self.problem(number, f"@schema {text} is no map; write e.g. # @schema {{minimum: 1}}")
        return schema


def _fields(directive: str, line: int, comments: _Comments) -> tuple[Value, ...]:
    place, _, excepted = directive.partition(" except ")
    module, _, name = place.strip().partition(":")
    model = getattr(importlib.import_module(module), name)
    if not issubclass(model, BaseModel):
        raise comments.problem(line, f"@model {place} is no pydantic model; name one as module:Class")
    unknown = set(excepted.split()) - {_camel(one) for one in model.model_fields}
    if unknown:
        raise comments.problem(line, f"@model {place} has no {', '.join(sorted(unknown))}; correct what follows except")
    properties = model.model_json_schema()["properties"]
    values = []
    for one, about in model.model_fields.items():
        if _camel(one) not in excepted.split():
            schema = {key: value for key, value in properties[one].items() if key not in _SAID_ELSEWHERE}
            values.append(Value(_camel(one), about.default, about.description or "", None, schema))
    return tuple(values)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
