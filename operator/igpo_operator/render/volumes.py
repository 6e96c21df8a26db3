"""Volumes of a pod and where they are mounted."""

from typing import Any, Final

from igpo_operator.render.claim import claim_name
from igpo_operator.render.environment import SCRATCH_PATH
from igpo_operator.render.gang import Gang
from igpo_trainer.spec.contract import FROM_VOLUME_PATH, MANIFEST_PATH, VOLUME_PATH

RUN_VOLUME: Final = "igpo-run"
FROM_VOLUME: Final = "igpo-from"
MANIFEST_VOLUME: Final = "igpo-manifest"
SHM_VOLUME: Final = "igpo-shm"
SCRATCH_VOLUME: Final = "igpo-tmp"
SHM_PATH: Final = "/dev/shm"  # noqa: S108  # a mount point


def volumes(gang: Gang, manifest_name: str) -> list[dict[str, Any]]:
    """Volumes of a pod. One claim is one volume, also when the run that this one starts from lies on it as well."""
    workers, source = gang.resource.cluster.workers, gang.resolved.source
    memory: dict[str, Any] = {"medium": "Memory"}
    if workers.shm_size is not None:
        memory["sizeLimit"] = str(workers.shm_size)
    ours: list[dict[str, Any]] = [
        {"name": MANIFEST_VOLUME, "configMap": {"name": manifest_name}},
        {"name": RUN_VOLUME, "persistentVolumeClaim": {"claimName": claim_name(gang)}},
        {"name": SHM_VOLUME, "emptyDir": memory},
        {"name": SCRATCH_VOLUME, "emptyDir": {}},
    ]
    if source is not None and source.claim_name != claim_name(gang):
        ours.append({"name": FROM_VOLUME, "persistentVolumeClaim": {"claimName": source.claim_name}})
    return ours + [it.model_dump(mode="json", by_alias=True, exclude_none=True) for it in workers.volumes or ()]


def volume_mounts(gang: Gang) -> list[dict[str, Any]]:
    """Mounts of container trainer. storage.subPath becomes the root of what the trainer sees."""
    workers, storage, source = gang.resource.cluster.workers, gang.resource.cluster.storage, gang.resolved.source
    ours = [
        {"name": MANIFEST_VOLUME, "mountPath": str(MANIFEST_PATH.parent), "readOnly": True},
        _mount(RUN_VOLUME, str(VOLUME_PATH), storage.sub_path),
        {"name": SHM_VOLUME, "mountPath": SHM_PATH},
        {"name": SCRATCH_VOLUME, "mountPath": SCRATCH_PATH},
    ]
    if source is not None:
        volume = RUN_VOLUME if source.claim_name == claim_name(gang) else FROM_VOLUME
        ours.append(_mount(volume, str(FROM_VOLUME_PATH), source.sub_path) | {"readOnly": True})
    return ours + [it.model_dump(mode="json", by_alias=True, exclude_none=True) for it in workers.volume_mounts or ()]


def _mount(name: str, path: str, sub_path: str | None) -> dict[str, Any]:
    return {"name": name, "mountPath": path} | ({} if sub_path is None else {"subPath": sub_path})
