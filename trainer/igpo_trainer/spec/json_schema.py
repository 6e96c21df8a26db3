"""JSON schema of manifest documents, for editors and for the cluster's own schema."""

from typing import Any

from igpo_trainer.spec.cluster import CLUSTER_FIELDS, CLUSTER_WORKER_FIELDS
from igpo_trainer.spec.contract import API_VERSION, DNS_LABEL, MAX_NAME_LENGTH
from igpo_trainer.spec.document import KINDS
from igpo_trainer.spec.model import RunKind

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document_schema(kind: RunKind) -> dict[str, Any]:
    """Describe one document of this kind; cluster fields are allowed and left open."""
    spec = KINDS[kind].model_json_schema(by_alias=True)
    definitions = spec.pop("$defs")
    spec["properties"] |= {name: {} for name in sorted(CLUSTER_FIELDS)}
    definitions["WorkersSpec"]["properties"] |= {name: {} for name in sorted(CLUSTER_WORKER_FIELDS)}
    name = {"type": "string", "pattern": DNS_LABEL, "maxLength": MAX_NAME_LENGTH}
    return {
        "$schema": _DIALECT,
        "title": kind,
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind},
            "metadata": {"type": "object", "properties": {"name": name}, "required": ["name"]},
            "spec": spec,
            "status": {"type": "object"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def manifest_schema() -> dict[str, Any]:
    """Describe a document of any kind."""
    documents = [document_schema(kind) for kind in KINDS]
    definitions = {name: schema for document in documents for name, schema in document.pop("$defs").items()}
    return {"$schema": _DIALECT, "title": "igpo manifest", "oneOf": documents, "$defs": definitions}
