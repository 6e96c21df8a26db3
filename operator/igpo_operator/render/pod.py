"""One pod of a gang, or the pod that rewrites traces: of the same shape and in the same place, but without GPUs."""

from collections.abc import Sequence
from typing import Any, Final

from igpo_operator.api.workers import GPU_RESOURCE, Workers
from igpo_operator.render.child import child
from igpo_operator.render.environment import environment
from igpo_operator.render.gang import Gang
from igpo_operator.render.kueue import queue_annotations, queue_labels
from igpo_operator.render.names import METRICS_PORT_NAME, STAGE_LABEL, TRAINER_CONTAINER, pod_labels, service_name
from igpo_operator.render.security import container_security, pod_security
from igpo_operator.render.volumes import volume_mounts, volumes
from igpo_trainer.spec.base import SpecModel
from igpo_trainer.spec.contract import METRICS_PORT

DEFAULT_LABELS: Final = {"sidecar.istio.io/inject": "false"}
DEFAULT_ANNOTATIONS: Final = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
    "kubectl.kubernetes.io/default-container": TRAINER_CONTAINER,
    "linkerd.io/inject": "disabled",
    "sidecar.istio.io/inject": "false",
}
"""No mesh between ranks, and no autoscaler that moves a pod to save a node; the manifest may say otherwise."""

GPU_TOLERATION: Final = {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
"""For the taint by which nodes with GPUs usually keep away pods that ask for none."""

KEEP_SIGTERM: Final = ("env", "--block-signal=TERM")
"""Starts the trainer's command so that the kernel keeps a SIGTERM for it until it listens.

Signals that PID 1 has no handler for are dropped, unless they are blocked: a gang that is deleted while Python starts
would otherwise hold its GPUs for the whole grace period.
"""


def pod(gang: Gang, rank: int, manifest_name: str) -> dict[str, Any]:
    """The pod of node rank `rank`."""
    workers = gang.resource.cluster.workers
    head = child(gang, "v1", "Pod", gang.pod_name(rank))
    head["metadata"]["labels"] = (
        DEFAULT_LABELS
        | (workers.labels or {})
        | pod_labels(gang.kind, gang.name, gang.attempt, rank)
        | ({STAGE_LABEL: gang.stage.value} if gang.rewrites else {})
        | queue_labels(gang)
    )
    head["metadata"]["annotations"] = DEFAULT_ANNOTATIONS | (workers.annotations or {}) | queue_annotations(gang)
    return head | {"spec": _spec(gang, rank, manifest_name)}


def _spec(gang: Gang, rank: int, manifest_name: str) -> dict[str, Any]:
    policy = gang.resource.cluster.run_policy
    workers = gang.resource.cluster.workers
    return {
        "restartPolicy": "Never",
        "hostname": gang.pod_name(rank),
        "subdomain": service_name(gang.kind, gang.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": policy.termination_grace_period_seconds,
        "securityContext": pod_security(workers.pod_security_context),
        **_placement(workers),
        **({"priorityClassName": policy.priority_class_name} if policy.priority_class_name else {}),
        "volumes": volumes(gang, manifest_name),
        "containers": [_trainer(gang, rank)],
    }


def _placement(workers: Workers) -> dict[str, Any]:
    """What the manifest says of nodes, scheduler, network and account."""
    given: dict[str, Any] = {
        "nodeSelector": workers.node_selector,
        "affinity": _plain(workers.affinity),
        "tolerations": _tolerations(workers),
        "topologySpreadConstraints": _plain_list(workers.topology_spread_constraints),
        "schedulerName": workers.scheduler_name,
        "runtimeClassName": workers.runtime_class_name,
        "serviceAccountName": workers.service_account_name,
        "imagePullSecrets": _plain_list(workers.image_pull_secrets),
    }
    if workers.host_network:
        # Without this policy a pod on the node's network does not find the others' names.
        given |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return {name: value for name, value in given.items() if value}


def _trainer(gang: Gang, rank: int) -> dict[str, Any]:
    workers = gang.resource.cluster.workers
    optional: dict[str, Any] = {
        "imagePullPolicy": workers.image_pull_policy,
        "envFrom": _plain_list(workers.env_from),
        "resources": resources(workers, accelerated=not gang.rewrites),
    }
    if rank == 0:  # only global rank 0 serves metrics, and a monitor finds its targets by the port's name
        optional["ports"] = [{"name": METRICS_PORT_NAME, "containerPort": METRICS_PORT, "protocol": "TCP"}]
    command = "igpo-rewrite" if gang.rewrites else "igpo-launch"
    return {
        "name": TRAINER_CONTAINER,
        "image": gang.resolved.image,
        "command": [*KEEP_SIGTERM, command, f"--linger-seconds={gang.linger_seconds:g}"],
        "env": environment(gang, rank),
        "volumeMounts": volume_mounts(gang),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_security(workers.security_context),
        **{name: value for name, value in optional.items() if value},
    }


def resources(workers: Workers, *, accelerated: bool = True) -> dict[str, Any]:
    """Requests and limits as given; GPUs and other extended resources beside them if it is `accelerated`.

    Nothing is asked for CPU and memory by default: what a run needs depends on its model, and a guess would either
    starve it or keep it from being scheduled. A namespace's LimitRange applies.
    """
    given = workers.resources
    extra = dict((workers.extra_resources if accelerated else None) or {})
    requests = dict((given and given.requests) or {}) | extra
    limits = dict((given and given.limits) or {}) | extra
    if accelerated and workers.gpus_per_worker:
        limits[GPU_RESOURCE] = workers.gpus_per_worker
    parts = {"requests": requests, "limits": limits}
    return {name: {key: str(value) for key, value in part.items()} for name, part in parts.items() if part}


def _tolerations(workers: Workers) -> list[dict[str, Any]]:
    """As given; with GPUs also their usual taint, unless the manifest names it.

    The pod that rewrites has it, too, though it asks for none: it shares the gang's volume, so it must fit its nodes.
    """
    given = _plain_list(workers.tolerations)
    if not workers.gpus_per_worker or any(one.get("key") == GPU_RESOURCE for one in given):
        return given
    return [*given, dict(GPU_TOLERATION)]


def _plain(model: SpecModel | None) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _plain_list(models: Sequence[SpecModel] | None) -> list[dict[str, Any]]:
    return [model.model_dump(mode="json", by_alias=True, exclude_none=True) for model in models or ()]
