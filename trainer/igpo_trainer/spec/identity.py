"""What makes two runs the same: a hash of everything in the spec that decides the result."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from igpo_trainer.spec.contract import API_VERSION
from igpo_trainer.spec.document import Document, Spec
from igpo_trainer.spec.model import RunKind

MUTABLE_FIELDS: Final = frozenset({"suspend", "batching", "workers", "image", "storage", "runPolicy", "managedBy"})
"""Fields of spec that may differ between attempts: they change where and how fast a run goes, never its result."""

PACE_FIELDS: Final = {"rewrite": frozenset({"concurrency", "attempts", "timeoutSeconds", "tokenBudget"})}
"""Fields below a field of spec of which the same holds: a run whose budget was raised finds its answers again."""


def document_hash(document: Document) -> str:
    """run_hash of a checked document."""
    return run_hash(document.kind, document.spec)


def run_hash(kind: RunKind, spec: Spec) -> str:
    """spec_hash of a checked spec, with defaults left out: what run.json holds."""
    fields = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return spec_hash({"apiVersion": API_VERSION, "kind": kind, "spec": fields})


def spec_hash(document: Mapping[str, Any]) -> str:
    """sha256, hex, of a manifest document without the fields that may change between attempts.

    Equal for any order of keys and for 3 and 3.0. Give it the parsed document with defaults left out, so that a
    default written down and one left out hash the same. Metadata and status do not count.
    """
    spec = {
        key: _without(value, PACE_FIELDS.get(key, frozenset()))
        for key, value in document.get("spec", {}).items()
        if key not in MUTABLE_FIELDS
    }
    canonical = {"apiVersion": document.get("apiVersion"), "kind": document.get("kind"), "spec": _canonical(spec)}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _without(value: object, names: frozenset[str]) -> object:
    return {key: item for key, item in value.items() if key not in names} if isinstance(value, Mapping) else value


def _canonical(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
