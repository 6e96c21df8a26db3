"""spec.workers: the pods of a run, as far as a cluster cares."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.environment import EnvFrom, Variable
from igpo_operator.api.formats import CONTAINER_RESOURCE, EXTENDED_RESOURCE, ObjectName, QualifiedName, Quantity
from igpo_operator.api.quantity import value_of
from igpo_operator.api.scheduling import Affinity, Toleration, TopologySpread
from igpo_operator.api.security import PodSecurityContext, SecurityContext
from igpo_operator.api.selection import LabelMap
from igpo_operator.api.volumes import SecretName, Volume, VolumeMount
from igpo_trainer.spec.base import PositiveInt, SpecModel
from igpo_trainer.spec.contract import RESERVED_KEY_PREFIXES
from igpo_trainer.spec.run import WorkersSpec

GPU_RESOURCE: Final = "nvidia.com/gpu"
ContainerResource = Annotated[str, Field(min_length=1, max_length=63, pattern=CONTAINER_RESOURCE)]
ExtendedResource = Annotated[str, Field(min_length=1, max_length=317, pattern=EXTENDED_RESOURCE)]
ResourceMap = Annotated[dict[ContainerResource, Quantity], Field(max_length=3)]


class Resources(SpecModel):
    """Requests and limits of the trainer container; GPUs come from gpusPerWorker."""

    requests: ResourceMap | None = Field(
        default=None, description="Amounts that the scheduler reserves, for example cpu: 16 and memory: 128Gi."
    )
    limits: ResourceMap | None = Field(default=None, description="Amounts that the container may not exceed.")

    @model_validator(mode="after")
    def _requests_are_within_limits(self) -> Self:
        limits = self.limits or {}
        for name, amount in (self.requests or {}).items():
            if name in limits and value_of(amount) > value_of(limits[name]):
                raise ValueError(f"requests of {name} {amount} are above its limit {limits[name]}; lower them")
        return self


class Workers(WorkersSpec):
    """spec.workers with the fields that matter on a cluster."""

    resources: Resources | None = Field(
        default=None, description="Requests and limits of CPU and memory. Absent: none, the namespace's defaults apply."
    )
    extra_resources: Annotated[dict[ExtendedResource, PositiveInt], Field(max_length=16)] | None = Field(
        default=None,
        description="Number of each extended resource of every pod beside GPUs, for example rdma/hca: 1.",
    )
    node_selector: LabelMap | None = Field(default=None, description="Labels that a node must have.")
    affinity: Affinity | None = Field(default=None, description="Rules of placement.")
    tolerations: tuple[Toleration, ...] | None = Field(
        default=None,
        max_length=32,
        description="Taints that do not keep the pods away; nvidia.com/gpu is one with gpusPerWorker, unless named.",
    )
    topology_spread_constraints: tuple[TopologySpread, ...] | None = Field(
        default=None, max_length=8, description="How evenly the pods are spread over places."
    )
    env: tuple[Variable, ...] | None = Field(
        default=None,
        max_length=128,
        description="Environment variables; they win over envFrom. Those that the operator sets are refused.",
    )
    env_from: tuple[EnvFrom, ...] | None = Field(
        default=None, max_length=16, description="Secrets and ConfigMaps whose keys become variables."
    )
    volumes: tuple[Volume, ...] | None = Field(
        default=None, max_length=16, description="Volumes beside those that the operator mounts."
    )
    volume_mounts: tuple[VolumeMount, ...] | None = Field(
        default=None, max_length=32, description="Where those volumes appear in the trainer container."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the image is pulled. Absent: Always for the tag latest, else IfNotPresent."
    )
    image_pull_secrets: tuple[SecretName, ...] | None = Field(
        default=None, max_length=8, description="Secrets with the registry's credentials."
    )
    labels: LabelMap | None = Field(
        default=None, description="Labels of the pods. Those of igpo.dev and kueue.x-k8s.io are refused."
    )
    annotations: Annotated[dict[QualifiedName, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] | None = (
        Field(
            default=None,
            description="Annotations of the pods; they win over the operator's defaults. Those of igpo.dev and "
            "kueue.x-k8s.io are refused.",
        )
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="Service account of the pods; its token is not mounted. Absent: default."
    )
    security_context: SecurityContext | None = Field(
        default=None, description="Overrides of the trainer container's security context."
    )
    pod_security_context: PodSecurityContext | None = Field(
        default=None, description="Overrides of the pods' security context."
    )
    host_network: bool | None = Field(
        default=None,
        description="True: pods use the node's network, as some RDMA needs; no NetworkPolicy protects them there.",
    )
    scheduler_name: ObjectName | None = Field(default=None, description="Scheduler of the pods. Absent: the default.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass of the pods, such as nvidia.")
    shm_size: Quantity | None = Field(
        default=None,
        description="Largest size of /dev/shm, an amount such as 16Gi; it counts as memory. Absent: no own limit.",
    )

    @model_validator(mode="after")
    def _gpus_are_counted_elsewhere(self) -> Self:
        if GPU_RESOURCE in (self.extra_resources or {}):
            raise ValueError(f"extraResources has {GPU_RESOURCE}; set workers.gpusPerWorker instead")
        return self

    @model_validator(mode="after")
    def _keys_are_free(self) -> Self:
        for name, keys in (("labels", self.labels), ("annotations", self.annotations)):
            taken = next((key for key in keys or {} if key.startswith(RESERVED_KEY_PREFIXES)), None)
            if taken is not None:
                raise ValueError(
                    f"{name} has {taken}; keys of {' and '.join(RESERVED_KEY_PREFIXES)} are the operator's, remove it"
                )
        return self

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        _distinct("env", "name", [variable.name for variable in self.env or ()])
        _distinct("volumes", "name", [volume.name for volume in self.volumes or ()])
        _distinct("volumeMounts", "mountPath", [mount.mount_path for mount in self.volume_mounts or ()])
        _distinct("imagePullSecrets", "name", [secret.name for secret in self.image_pull_secrets or ()])
        spreads = self.topology_spread_constraints or ()
        places = [f"{spread.topology_key} with {spread.when_unsatisfiable}" for spread in spreads]
        _distinct("topologySpreadConstraints", "topologyKey", places)
        return self

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> Self:
        names = {volume.name for volume in self.volumes or ()}
        unknown = next((mount.name for mount in self.volume_mounts or () if mount.name not in names), None)
        if unknown is not None:
            raise ValueError(f"volumeMounts names {unknown}, which workers.volumes lacks; add the volume")
        return self


def _distinct(field: str, key: str, values: list[str]) -> None:
    repeated = next((value for index, value in enumerate(values) if value in values[:index]), None)
    if repeated is not None:
        raise ValueError(f"{field} repeats {key} {repeated}; keep one of them")
