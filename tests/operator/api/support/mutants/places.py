"""Walking a manifest and its structural schema together."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from igpo_operator.api.crd import object_schema
from igpo_operator.api.kinds import KINDS

Path = tuple[str | int, ...]
SCHEMAS = {kind.kind: object_schema(kind) for kind in KINDS}


@dataclass(frozen=True)
class Place:
    """A value that is there, and what the schema says about it."""

    path: Path
    schema: dict[str, Any]
    value: Any

    @property
    def rules(self) -> list[str]:
        return [rule["rule"] for rule in self.schema.get("x-kubernetes-validations", ())]


def places(manifest: dict[str, Any]) -> list[Place]:
    """Every value below spec that the schema describes, objects and lists included."""
    schema = SCHEMAS[manifest["kind"]]["properties"]["spec"]
    return list(_walk(("spec",), schema, manifest["spec"]))


def _walk(path: Path, schema: dict[str, Any], value: Any) -> Iterator[Place]:
    yield Place(path, schema, value)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk((*path, index), schema["items"], item)
    elif isinstance(value, dict):
        for name, item in value.items():
            inner = schema.get("additionalProperties") or schema["properties"][name]
            yield from _walk((*path, name), inner, item)


def dotted(path: Path) -> str:
    """A path as the API server writes it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def rules_below(schema: Any) -> Iterator[dict[str, Any]]:
    """Every CEL rule of a schema and of what is in it; those about changes are left out."""
    if isinstance(schema, dict):
        for rule in schema.get("x-kubernetes-validations", ()):
            if "oldSelf" not in rule["rule"]:
                yield rule
        for value in schema.values():
            yield from rules_below(value)
