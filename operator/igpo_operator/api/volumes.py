"""Volumes of the pods beside what the operator mounts, with the Kubernetes names.

The kinds people train with: configuration, scratch space, claims, network and node storage, inline CSI. For an
ephemeral claim per pod create the claim yourself and name it.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.environment import ResourceFieldRef
from igpo_operator.api.formats import (
    ABSOLUTE_PATH,
    POD_METADATA,
    ConfigKey,
    DnsLabel,
    FileMode,
    MountPath,
    ObjectName,
    Quantity,
    RelativePath,
)
from igpo_trainer.spec.base import SpecModel
from igpo_trainer.spec.contract import RESERVED_MOUNT_PATHS, RESERVED_VOLUME_PREFIX


class KeyToPath(SpecModel):
    """One key that becomes a file."""

    key: ConfigKey = Field(description="Key in the data.")
    path: RelativePath = Field(description="Relative path of the file.")
    mode: FileMode | None = Field(default=None, description="Permission bits, a number such as 0o440.")


Items = Annotated[tuple[KeyToPath, ...], Field(max_length=32)]


class ConfigMapVolume(SpecModel):
    """Files from a ConfigMap."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    items: Items | None = Field(default=None, description="Keys and their files. Absent: every key.")
    default_mode: FileMode | None = Field(default=None, description="Permission bits of the files, a number.")
    optional: bool | None = Field(default=None, description="True: the pod starts without it.")


class SecretVolume(SpecModel):
    """Files from a Secret."""

    secret_name: ObjectName = Field(description="Name of the Secret.")
    items: Items | None = Field(default=None, description="Keys and their files. Absent: every key.")
    default_mode: FileMode | None = Field(default=None, description="Permission bits of the files, a number.")
    optional: bool | None = Field(default=None, description="True: the pod starts without it.")


class EmptyDirVolume(SpecModel):
    """Scratch space that ends with the pod."""

    medium: Literal["", "Memory"] | None = Field(
        default=None, description="Memory: a tmpfs that counts as memory of the pod. Empty: the node's disk."
    )
    size_limit: Quantity | None = Field(default=None, description="Largest size, an amount of bytes such as 10Gi.")


class ClaimVolume(SpecModel):
    """A persistent volume claim in the run's namespace."""

    claim_name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")
    read_only: bool | None = Field(default=None, description="True: mounted read-only.")


class HostPathVolume(SpecModel):
    """A file or folder of the node. Namespaces with the baseline or restricted Pod Security level refuse it."""

    path: MountPath = Field(description="Absolute path on the node.")
    type: (
        Literal["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"]
        | None
    ) = Field(default=None, description="What must be there. Empty: it is not checked.")


class NfsVolume(SpecModel):
    """A folder of an NFS server."""

    server: str = Field(min_length=1, max_length=253, description="Host name or address of the server.")
    path: str = Field(
        min_length=1, max_length=1024, pattern=ABSOLUTE_PATH, description="Absolute path that it exports."
    )
    read_only: bool | None = Field(default=None, description="True: mounted read-only.")


class SecretName(SpecModel):
    """A Secret in the run's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class CsiVolume(SpecModel):
    """An inline volume of a CSI driver."""

    driver: ObjectName = Field(description="Name of the CSI driver.")
    fs_type: str | None = Field(default=None, min_length=1, max_length=64, description="File system, such as ext4.")
    node_publish_secret_ref: SecretName | None = Field(default=None, description="Secret with the credentials.")
    read_only: bool | None = Field(default=None, description="True: mounted read-only.")
    volume_attributes: (
        Annotated[
            dict[Annotated[str, Field(max_length=253)], Annotated[str, Field(max_length=4096)]], Field(max_length=32)
        ]
        | None
    ) = Field(default=None, description="Attributes that the driver reads.")


class ProjectedKeys(SpecModel):
    """Keys of a Secret or ConfigMap in a projected volume."""

    name: ObjectName = Field(description="Name of the Secret or ConfigMap.")
    items: Items | None = Field(default=None, description="Keys and their files. Absent: every key.")
    optional: bool | None = Field(default=None, description="True: the pod starts without it.")


class ServiceAccountToken(SpecModel):
    """A token of the pod's service account, for a system outside the cluster."""

    path: RelativePath = Field(description="Relative path of the file.")
    audience: str | None = Field(default=None, min_length=1, max_length=512, description="Who may accept the token.")
    expiration_seconds: int | None = Field(
        default=None, ge=600, le=2**32, description="Lifetime of the token, in seconds; it is renewed."
    )


class MetadataRef(SpecModel):
    """A field of the pod's metadata."""

    field_path: Annotated[str, Field(min_length=1, max_length=384, pattern=POD_METADATA)] = Field(
        description="Path of the field, for example metadata.labels."
    )
    api_version: Literal["v1"] | None = Field(default=None, description="API version of the path.")


class DownwardFile(SpecModel):
    """A file with a field of the pod: exactly one of fieldRef and resourceFieldRef."""

    path: RelativePath = Field(description="Relative path of the file.")
    field_ref: MetadataRef | None = Field(default=None, description="A field of the pod's metadata.")
    resource_field_ref: ResourceFieldRef | None = Field(default=None, description="A request or limit.")
    mode: FileMode | None = Field(default=None, description="Permission bits, a number such as 0o440.")

    @model_validator(mode="after")
    def _one_field(self) -> Self:
        if (self.field_ref is None) == (self.resource_field_ref is None):
            raise ValueError("exactly one of fieldRef and resourceFieldRef must be set; keep one")
        if self.resource_field_ref is not None and self.resource_field_ref.container_name is None:
            raise ValueError("resourceFieldRef needs a containerName in a volume; add containerName: trainer")
        return self


class DownwardApi(SpecModel):
    """Files with fields of the pod."""

    items: tuple[DownwardFile, ...] | None = Field(default=None, max_length=16, description="The files.")


class ProjectedSource(SpecModel):
    """One source of a projected volume: exactly one of these."""

    secret: ProjectedKeys | None = Field(default=None, description="Files from a Secret.")
    config_map: ProjectedKeys | None = Field(default=None, description="Files from a ConfigMap.")
    downward_api: DownwardApi | None = Field(
        default=None, alias="downwardAPI", description="Files with fields of the pod."
    )
    service_account_token: ServiceAccountToken | None = Field(
        default=None, description="A token of the pod's service account."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = (self.secret, self.config_map, self.downward_api, self.service_account_token)
        if sum(source is not None for source in given) != 1:
            raise ValueError(
                "exactly one of secret, configMap, downwardAPI and serviceAccountToken must be set; keep one"
            )
        return self


class ProjectedVolume(SpecModel):
    """Several sources in one folder."""

    sources: tuple[ProjectedSource, ...] = Field(min_length=1, max_length=8, description="The sources.")
    default_mode: FileMode | None = Field(default=None, description="Permission bits of the files, a number.")


VOLUME_SOURCES: Final = (
    "configMap",
    "secret",
    "emptyDir",
    "persistentVolumeClaim",
    "hostPath",
    "nfs",
    "csi",
    "projected",
)


class Volume(SpecModel):
    """A volume of every pod: a name and exactly one source."""

    name: DnsLabel = Field(description="Name that volumeMounts refer to; names that begin with igpo- are refused.")
    config_map: ConfigMapVolume | None = Field(default=None, description="Files from a ConfigMap.")
    secret: SecretVolume | None = Field(default=None, description="Files from a Secret.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="Scratch space that ends with the pod.")
    persistent_volume_claim: ClaimVolume | None = Field(default=None, description="A persistent volume claim.")
    host_path: HostPathVolume | None = Field(default=None, description="A file or folder of the node.")
    nfs: NfsVolume | None = Field(default=None, description="A folder of an NFS server.")
    csi: CsiVolume | None = Field(default=None, description="An inline volume of a CSI driver.")
    projected: ProjectedVolume | None = Field(default=None, description="Several sources in one folder.")

    @model_validator(mode="after")
    def _free_and_one_source(self) -> Self:
        if self.name.startswith(RESERVED_VOLUME_PREFIX):
            raise ValueError(f"name {self.name} begins with {RESERVED_VOLUME_PREFIX}, as the operator's own; rename it")
        sources = self.model_dump(by_alias=True, exclude={"name"}, exclude_none=True)
        if len(sources) != 1:
            raise ValueError(f"exactly one of {', '.join(VOLUME_SOURCES)} must be set; keep one")
        return self


class VolumeMount(SpecModel):
    """Where a volume appears in the trainer container."""

    name: DnsLabel = Field(description="Name of one of workers.volumes.")
    mount_path: MountPath = Field(description="Absolute path; the operator's own folders are refused.")
    read_only: bool | None = Field(default=None, description="True: mounted read-only.")
    sub_path: RelativePath | None = Field(default=None, description="Folder of the volume that is mounted.")

    @model_validator(mode="after")
    def _free_path(self) -> Self:
        if any(f"{self.mount_path}/".startswith(f"{path}/") for path in RESERVED_MOUNT_PATHS):
            raise ValueError(
                f"mountPath {self.mount_path} lies in {', '.join(RESERVED_MOUNT_PATHS)}, the operator's own; "
                "choose another"
            )
        return self
