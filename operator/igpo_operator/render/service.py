"""The headless Service that gives every pod of a run a name in DNS."""

from typing import Any

from igpo_operator.render.child import child
from igpo_operator.render.gang import Gang
from igpo_operator.render.names import KIND_LABEL, RUN_LABEL, service_name
from igpo_trainer.spec.contract import RENDEZVOUS_PORT


def service(gang: Gang) -> dict[str, Any]:
    """Service over all attempts' pods: pod names differ by attempt, so it stays the same for the whole run.

    Pods are published before they are ready: ranks look each other up while they start.
    """
    return child(gang, "v1", "Service", service_name(gang.kind, gang.name)) | {
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {KIND_LABEL: gang.kind.kind, RUN_LABEL: gang.name},
            "ports": [
                {"name": "rendezvous", "protocol": "TCP", "port": RENDEZVOUS_PORT, "targetPort": RENDEZVOUS_PORT}
            ],
        }
    }
