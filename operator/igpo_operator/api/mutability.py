"""What of a run may change after it was created. Everything else in spec is immutable."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from igpo_operator.api.rule import Rule


class Change(StrEnum):
    """When a field may change."""

    ANY_TIME = "any time"
    WHILE_SUSPENDED = "while suspended"
    NEVER = "never"


MUTABLE: Final = {
    "suspend": Change.ANY_TIME,
    "image": Change.WHILE_SUSPENDED,
    "workers": Change.WHILE_SUSPENDED,
    "batching": Change.WHILE_SUSPENDED,
    "storage.retainPolicy": Change.ANY_TIME,
    "runPolicy.backoffLimit": Change.ANY_TIME,
    "runPolicy.activeDeadlineSeconds": Change.ANY_TIME,
    "runPolicy.preRunningDeadlineSeconds": Change.ANY_TIME,
    "runPolicy.stallTimeoutSeconds": Change.ANY_TIME,
    "runPolicy.ttlSecondsAfterFinished": Change.ANY_TIME,
    "runPolicy.forceDeleteAfterSeconds": Change.ANY_TIME,
    "runPolicy.terminationGracePeriodSeconds": Change.WHILE_SUSPENDED,
    "runPolicy.queueName": Change.WHILE_SUSPENDED,
    "runPolicy.workloadPriorityClassName": Change.WHILE_SUSPENDED,
    "runPolicy.priorityClassName": Change.WHILE_SUSPENDED,
}
"""By path below spec. Of an object whose fields are named here, the others never change."""

_NEVER: Final = "cannot be changed; create a new run (model.from can start it from a checkpoint of this one)"
_SUSPENDED: Final = "can be changed only while the run is suspended; apply spec.suspend: true on its own first"


def change_of(path: str) -> Change:
    """When the field at this path below spec may change, by its own entry or that of an object around it."""
    while path:
        if path in MUTABLE:
            return MUTABLE[path]
        path = path.rpartition(".")[0]
    return Change.NEVER


def transition_rules(spec: dict[str, Any]) -> list[Rule]:
    """Rules over self and oldSelf for a structural schema of spec."""
    return [rule for path, name, schema in _guarded(spec) for rule in _rules(path, name, schema)]


def _guarded(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The fields that get a rule each: (path of the object around it, name, schema of that object)."""
    for name, schema in spec["properties"].items():
        if any(path.startswith(f"{name}.") for path in MUTABLE):
            for inner in schema["properties"]:
                yield f".{name}", inner, schema
        else:
            yield "", name, spec


def _rules(parent: str, name: str, schema: dict[str, Any]) -> Iterator[Rule]:
    change = change_of(f"{parent}.{name}".removeprefix("."))
    if change is Change.ANY_TIME:
        return
    same = _same(parent, name, schema)
    if change is Change.WHILE_SUSPENDED:
        yield Rule(f"oldSelf.suspend || ({same})", _SUSPENDED, f"{parent}.{name}")
    else:
        yield Rule(same, _NEVER, f"{parent}.{name}")


def _same(parent: str, name: str, schema: dict[str, Any]) -> str:
    """That a field is as before, also where it may be absent: an absent list or map equals an empty one."""
    field = schema["properties"][name]
    new, old = f"self{parent}.{name}", f"oldSelf{parent}.{name}"
    equal = f"{new} == {old}"
    if name in schema.get("required", ()) or "default" in field:
        return equal
    if field.get("type") == "array" or "additionalProperties" in field:
        return f"has({new}) && has({old}) ? {equal} : {_empty(new)} && {_empty(old)}"
    return f"has({new}) == has({old}) && (!has({new}) || {equal})"


def _empty(value: str) -> str:
    return f"(!has({value}) || size({value}) == 0)"
