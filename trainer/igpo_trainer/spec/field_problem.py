"""A spec model's complaints as lines for a person: file:line, the field, the value, the limit, the next action."""

import difflib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from igpo_trainer.spec.base import SpecModel
from igpo_trainer.spec.field_path import model_at, yaml_names
from igpo_trainer.spec.yaml_document import JSON, FieldPath

SPEC: Final = "spec"
_LONGEST_VALUE: Final = 60
_DOTTED_NAME: Final = re.compile(r"[a-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*)*(?= )")


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a document."""

    path: FieldPath
    text: str


def problems_of(error: ValidationError, model: type[SpecModel], value: JSON) -> list[FieldProblem]:
    """One problem per field of `spec`; paths start at the document's root.

    The branches of a union (Auto or a number) complain one by one about the same field: they become one problem.
    """
    by_path: dict[FieldPath, list[ErrorDetails]] = defaultdict(list)
    for details in error.errors(include_url=False):
        by_path[_path_in(value, details)].append(details)
    return [_problem(path, branches, model, value) for path, branches in by_path.items()]


def dotted(path: FieldPath) -> str:
    """Write a path as people write it: spec.evaluation.datasets[0].source."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Ask for the nearest known name, or list every known name."""
    names = list(known)
    by_lower = {name.lower(): name for name in names}
    nearest = difflib.get_close_matches(wrong.replace("_", "").lower(), by_lower, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean {by_lower[nearest[0]]}?"
    return f"choose from {', '.join(names)}"


def unknown_field(path: FieldPath, known: Sequence[str]) -> FieldProblem:
    """Complain about a field that nobody reads."""
    return FieldProblem(path, f"{dotted(path)} is not a field; {suggestion(str(path[-1]), known)}")


def shown(value: JSON) -> str:
    """Write a value as in the manifest, cut to one short line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _path_in(value: JSON, details: ErrorDetails) -> FieldPath:
    """Cut an error's location to the part that is a field; pydantic adds the names of union branches."""
    location = details["loc"]
    if details["type"] in ("missing", "extra_forbidden"):
        return location
    depth = 0
    for step in location:
        children = _children(value)
        if step not in children:
            break
        value = children[step]
        depth += 1
    return location[:depth]


def _children(value: JSON) -> dict[str | int, JSON]:
    items: Iterable[tuple[str | int, JSON]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return dict(items)


def _problem(path: FieldPath, branches: list[ErrorDetails], model: type[SpecModel], value: JSON) -> FieldProblem:
    first = branches[0]
    full = (SPEC, *path)
    if first["type"] == "extra_forbidden":
        parent = model_at(model, path[:-1])
        return unknown_field(full, yaml_names(parent) if parent else [])
    if first["type"] == "missing":
        return FieldProblem(full, f"{dotted(full)} is missing; add it{_described(model, path)}")
    if first["type"] == "value_error":
        return _rule_broken(full, str(first["ctx"]["error"]), model_at(model, path))
    given = first["input"]
    complaint = " and ".join(dict.fromkeys(_complaint(branch) for branch in branches))
    hint = ""
    if isinstance(given, str):
        choices = [choice for branch in branches for choice in _choices(branch)]
        nearest = suggestion(given, choices)
        hint = f"; {nearest}" if choices and nearest.startswith("did") else ""
    return FieldProblem(full, f"{dotted(full)} {shown(given)} {complaint}{hint or _action(branches)}")


def _described(model: type[SpecModel], path: FieldPath) -> str:
    parent, name = model_at(model, path[:-1]), path[-1]
    fields = parent.model_fields.items() if parent else ()
    text = next((field.description for key, field in fields if (field.alias or key) == name), None)
    return f" ({text.rstrip('.')})" if text else ""


def _rule_broken(path: FieldPath, message: str, model: type[SpecModel] | None) -> FieldProblem:
    """Place a rule over several fields: its message starts with the field to change, seen from the rule's model."""
    match = _DOTTED_NAME.match(message)
    name = match.group() if match else ""
    if model is not None and name.split(".")[0] in yaml_names(model):
        return FieldProblem((*path, *name.split(".")), f"{dotted(path)}.{message}")
    return FieldProblem(path, f"{dotted(path)}: {message}")


def _choices(details: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']*)'", details["ctx"]["expected"]) if details["type"] == "literal_error" else []


_NAMES: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dict_type": "an object",
    "tuple_type": "a list",
    "list_type": "a list",
}
_LIMITS: Final[dict[str, Callable[[dict[str, Any]], tuple[str, str]]]] = {
    "greater_than_equal": lambda c: (f"is below the limit {c['ge']}", f"set {c['ge']} or more"),
    "greater_than": lambda c: (f"is not above the limit {c['gt']}", f"set more than {c['gt']}"),
    "less_than_equal": lambda c: (f"is above the limit {c['le']}", f"set {c['le']} or less"),
    "less_than": lambda c: (f"is not below the limit {c['lt']}", f"set less than {c['lt']}"),
    "string_too_short": lambda c: (f"is shorter than the limit of {c['min_length']} characters", "give a longer text"),
    "string_too_long": lambda c: (f"is longer than the limit of {c['max_length']} characters", "shorten it"),
    "too_short": lambda c: (f"has {c['actual_length']} items, the limit is at least {c['min_length']}", "add some"),
    "too_long": lambda c: (f"has more items than the limit of {c['max_length']}", "remove some"),
    "string_pattern_mismatch": lambda c: (f"does not match the pattern {c['pattern']}", "correct it"),
}


def _complaint(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind in _LIMITS:
        return _LIMITS[kind](details["ctx"])[0]
    if kind in _NAMES:
        return f"is not {_NAMES[kind]}"
    if kind == "literal_error":
        choices = _choices(details)
        return f"is not {choices[0]}" if len(choices) == 1 else f"is none of {', '.join(choices)}"
    return details["msg"][:1].lower() + details["msg"][1:]


def _action(branches: list[ErrorDetails]) -> str:
    actions = []
    for details in branches:
        kind = details["type"]
        if kind in _LIMITS:
            actions.append(_LIMITS[kind](details["ctx"])[1])
        elif kind == "string_type" and isinstance(details["input"], bool | int | float):
            actions.append("put it in quotes")
        elif kind in _NAMES:
            actions.append(f"write {_NAMES[kind]}")
        elif kind == "literal_error":
            choices = _choices(details)
            actions.append(f"set {choices[0]}" if len(choices) == 1 else "choose one of them")
    return f"; {' or '.join(dict.fromkeys(actions))}" if actions else "; `igpo schema` prints what is allowed"
