"""Who may connect to the pods of a run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from igpo_operator.render.child import child
from igpo_operator.render.gang import Gang
from igpo_operator.render.names import KIND_LABEL, MANAGER, RUN_LABEL, base_name
from igpo_trainer.spec.contract import METRICS_PORT

Peer = Mapping[str, Any]
"""A NetworkPolicyPeer."""

DEFAULT_SCRAPERS: Final[tuple[Peer, ...]] = (
    {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": MANAGER}}},
    {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}},
)
"""The operator and Prometheus by their usual labels, in any namespace."""


def network_policy(gang: Gang, scrapers: Sequence[Peer]) -> dict[str, Any]:
    """Pods of the same run reach each other on every port, scrapers the metrics port, nobody else anything.

    What pods may connect to is left open: hubs, teachers and trackers are anywhere.
    """
    ours = {"matchLabels": {KIND_LABEL: gang.kind.kind, RUN_LABEL: gang.name}}
    ingress: list[dict[str, Any]] = [{"from": [{"podSelector": ours}]}]
    if scrapers:  # an empty `from` would let everybody in
        ingress.append(
            {"from": [dict(peer) for peer in scrapers], "ports": [{"protocol": "TCP", "port": METRICS_PORT}]}
        )
    return child(gang, "networking.k8s.io/v1", "NetworkPolicy", base_name(gang.kind, gang.name)) | {
        "spec": {"podSelector": ours, "policyTypes": ["Ingress"], "ingress": ingress}
    }
