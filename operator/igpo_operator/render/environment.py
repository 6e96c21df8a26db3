"""Environment of the trainer container."""

from typing import Any, Final

from igpo_operator.render.gang import Gang
from igpo_operator.render.names import service_name
from igpo_trainer.spec.contract import (
    ATTEMPT_VARIABLE,
    GRACE_VARIABLE,
    RENDEZVOUS_PORT,
    RUN_ID_VARIABLE,
    TEACHER_API_KEY_VARIABLE,
    VOLUME_PATH,
)
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

SCRATCH_PATH: Final = "/tmp"  # noqa: S108  # the pod's own, a mount
CACHE_PATH: Final = VOLUME_PATH / ".cache" / "huggingface"
"""Downloads survive the pod, and are shared by the runs of one volume."""
_RENDEZVOUS_MARGIN_SECONDS: Final = 60


def environment(gang: Gang, rank: int) -> list[dict[str, Any]]:
    """Variables of the pod of node rank `rank`: ours, then the manifest's, which may replace all that are not reserved.

    torchrun reads the PET_* ones, other launchers the plain ones; both say the same.
    """
    workers = gang.resource.cluster.workers
    theirs = [it.model_dump(mode="json", by_alias=True, exclude_none=True) for it in workers.env or ()]
    taken = {variable["name"] for variable in theirs}
    ours = _attempt(gang) | ({} if gang.rewrites else _launch(gang, rank) | _accelerators(gang)) | _places()
    plain = [{"name": name, "value": value} for name, value in ours.items() if name not in taken]
    return [*plain, *_teacher_key(gang), *theirs]


def _attempt(gang: Gang) -> dict[str, str]:
    return {
        RUN_ID_VARIABLE: gang.uid,
        ATTEMPT_VARIABLE: str(gang.attempt),
        GRACE_VARIABLE: str(gang.resource.cluster.run_policy.termination_grace_period_seconds),
    }


def _teacher_key(gang: Gang) -> list[dict[str, Any]]:
    """The teacher's key, for the pod that rewrites and no other: the kubelet reads the Secret, the operator never."""
    spec = gang.resource.trainer
    if not gang.rewrites or not isinstance(spec, LengthAlignedSFTSpec) or spec.rewrite is None:
        return []
    secret = spec.rewrite.teacher.api_key_secret_ref
    if secret is None:
        return []
    return [
        {
            "name": TEACHER_API_KEY_VARIABLE,
            "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}},
        }
    ]


def _launch(gang: Gang, rank: int) -> dict[str, str]:
    policy = gang.resource.cluster.run_policy
    address, port = f"{gang.pod_name(0)}.{service_name(gang.kind, gang.name)}", str(RENDEZVOUS_PORT)
    # Pods start as far apart as their images take to arrive; who gives up on them is the operator, not torchrun.
    patience = policy.pre_running_deadline_seconds + _RENDEZVOUS_MARGIN_SECONDS
    return {
        "PET_NNODES": str(gang.replicas),
        "PET_NODE_RANK": str(rank),
        "PET_NPROC_PER_NODE": str(gang.processes),
        "PET_MASTER_ADDR": address,
        "PET_MASTER_PORT": port,
        "PET_RDZV_BACKEND": "static",
        "PET_RDZV_ID": f"{gang.uid}-{gang.attempt}",
        "PET_RDZV_CONF": f"timeout={patience}",
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(gang.replicas * gang.processes),
        "RANK": str(rank * gang.processes),
    }


def _accelerators(gang: Gang) -> dict[str, str]:
    """NCCL says what it failed at only where it is told to. What envFrom has would lose to a variable: left alone."""
    workers = gang.resource.cluster.workers
    return {"NCCL_DEBUG": "WARN"} if workers.gpus_per_worker and not workers.env_from else {}


def _places() -> dict[str, str]:
    """The root file system is read-only, and the user id has no entry in the image's list of users."""
    return {"HF_HOME": str(CACHE_PATH), "HOME": SCRATCH_PATH, "TMPDIR": SCRATCH_PATH, "USER": "igpo"}
