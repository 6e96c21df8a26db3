"""Every object of one attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from igpo_operator.api.kinds import Kind
from igpo_operator.api.reasons import Stage
from igpo_operator.api.spec import RunResource
from igpo_operator.api.status import Resolved
from igpo_operator.render.claim import claim
from igpo_operator.render.gang import Gang
from igpo_operator.render.manifest import manifest
from igpo_operator.render.network_policy import DEFAULT_SCRAPERS, Peer, network_policy
from igpo_operator.render.pod import pod
from igpo_operator.render.service import service


@dataclass(frozen=True, slots=True)
class AttemptObjects:
    """Objects as the API server takes them, in the order in which they are to be created."""

    manifest: dict[str, Any]
    """ConfigMap; its name depends on its content."""
    service: dict[str, Any]
    network_policy: dict[str, Any]
    claim: dict[str, Any] | None
    """None when the run uses a claim that exists."""
    pods: tuple[dict[str, Any], ...]
    """By node rank; one when traces are rewritten."""


def objects(
    *,
    kind: Kind,
    namespace: str,
    name: str,
    uid: str,
    resource: RunResource,
    resolved: Resolved,
    attempt: int,
    linger_seconds: float,
    stage: Stage = Stage.TRAINING,
    scrapers: Sequence[Peer] = DEFAULT_SCRAPERS,
) -> AttemptObjects:
    """Render an attempt: the same arguments always give the same objects.

    linger_seconds is how long a finished trainer keeps its metrics up; scrapers are NetworkPolicy peers that may read
    them.
    """
    gang = Gang(kind, namespace, name, uid, resource, resolved, attempt, linger_seconds, stage)
    config = manifest(gang)
    return AttemptObjects(
        manifest=config,
        service=service(gang),
        network_policy=network_policy(gang, scrapers),
        claim=claim(gang),
        pods=tuple(pod(gang, rank, config["metadata"]["name"]) for rank in range(gang.replicas)),
    )
