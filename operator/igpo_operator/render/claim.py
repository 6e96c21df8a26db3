"""The volume claim of a run that brings none."""

from typing import Any

from igpo_operator.render.child import child
from igpo_operator.render.gang import Gang
from igpo_operator.render.names import base_name


def claim_name(gang: Gang) -> str:
    """Claim that holds the run's folder."""
    return gang.resource.cluster.storage.claim_name or base_name(gang.kind, gang.name)


def claim(gang: Gang) -> dict[str, Any] | None:
    """The claim to create; None when storage.claimName names one that exists.

    It has an owner, and so goes with the run, only under retainPolicy Delete.
    """
    storage = gang.resource.cluster.storage
    if storage.claim_name is not None:
        return None
    spec: dict[str, Any] = {
        "accessModes": list(storage.claim_access_modes),
        "resources": {"requests": {"storage": storage.claim_size}},
    }
    if storage.storage_class_name is not None:  # an empty name means no class, an absent one the cluster's default
        spec["storageClassName"] = storage.storage_class_name
    owned = storage.retain_policy == "Delete"
    return child(gang, "v1", "PersistentVolumeClaim", claim_name(gang), owned=owned) | {"spec": spec}
