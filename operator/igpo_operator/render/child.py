"""The head of every child object."""

from typing import Any

from igpo_operator.render.gang import Gang
from igpo_operator.render.names import run_labels
from igpo_operator.render.owner import owner_reference


def child(gang: Gang, api_version: str, kind: str, name: str, *, owned: bool = True) -> dict[str, Any]:
    """apiVersion, kind and metadata of a child; one that is not owned outlives the run."""
    metadata: dict[str, Any] = {
        "namespace": gang.namespace,
        "name": name,
        "labels": run_labels(gang.kind, gang.name),
    }
    if owned:
        metadata["ownerReferences"] = [owner_reference(gang.kind, gang.name, gang.uid)]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
