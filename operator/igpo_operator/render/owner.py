"""The owner reference that ties a child to its run: garbage collection then removes it with the run."""

from typing import Any

from igpo_operator.api.kinds import Kind
from igpo_trainer.spec.contract import API_VERSION


def owner_reference(kind: Kind, name: str, uid: str) -> dict[str, Any]:
    """The run as controller of a child.

    blockOwnerDeletion makes a foreground deletion of the run wait for its pods; where the API server checks the right
    to it, the operator needs `update` on the run's finalizers.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": kind.kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
