"""Security settings that override the operator's (which fit a restricted namespace), with the Kubernetes names."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.formats import UserId
from igpo_trainer.spec.base import SpecModel

Capability = Annotated[str, Field(min_length=1, max_length=64)]


class SecurityProfile(SpecModel):
    """A seccomp or AppArmor profile."""

    type: Literal["RuntimeDefault", "Localhost", "Unconfined"] = Field(
        description="RuntimeDefault: the container runtime's. Localhost: a file on the node. Unconfined: none."
    )
    localhost_profile: str | None = Field(
        default=None, min_length=1, max_length=253, description="Name of the file; only with type Localhost."
    )

    @model_validator(mode="after")
    def _a_file_only_for_localhost(self) -> Self:
        if (self.type == "Localhost") != (self.localhost_profile is not None):
            raise ValueError("localhostProfile belongs to type Localhost, which needs it; add it or remove it")
        return self


class SeLinuxOptions(SpecModel):
    """SELinux label of the processes."""

    user: str | None = Field(default=None, min_length=1, max_length=128, description="SELinux user.")
    role: str | None = Field(default=None, min_length=1, max_length=128, description="SELinux role.")
    type: str | None = Field(default=None, min_length=1, max_length=128, description="SELinux type.")
    level: str | None = Field(default=None, min_length=1, max_length=128, description="SELinux level.")


class Capabilities(SpecModel):
    """Linux capabilities; the operator drops ALL."""

    add: tuple[Capability, ...] | None = Field(
        default=None, max_length=64, description="Capabilities to add, for example IPC_LOCK for RDMA."
    )
    drop: tuple[Capability, ...] | None = Field(default=None, max_length=64, description="Capabilities to drop.")


class Identity(SpecModel):
    """What pods and containers have in common: as whom processes run."""

    run_as_user: UserId | None = Field(default=None, description="User id, a number, of the processes.")
    run_as_group: UserId | None = Field(default=None, description="Group id, a number, of the processes.")
    run_as_non_root: bool | None = Field(default=None, description="True: user 0 is refused at start.")
    seccomp_profile: SecurityProfile | None = Field(default=None, description="Seccomp profile.")
    app_armor_profile: SecurityProfile | None = Field(default=None, description="AppArmor profile.")
    se_linux_options: SeLinuxOptions | None = Field(default=None, description="SELinux label of the processes.")

    @model_validator(mode="after")
    def _root_is_wanted(self) -> Self:
        if self.run_as_user == 0 and self.run_as_non_root:
            raise ValueError("runAsUser 0 is root, which runAsNonRoot refuses; remove one of them")
        return self


class SecurityContext(Identity):
    """Overrides of the trainer container's security context, field by field."""

    allow_privilege_escalation: bool | None = Field(
        default=None, description="Whether a process may gain more rights than its parent."
    )
    privileged: bool | None = Field(default=None, description="Whether the container has the node's rights.")
    read_only_root_filesystem: bool | None = Field(
        default=None, description="Whether the container's root file system is read-only."
    )
    capabilities: Capabilities | None = Field(default=None, description="Linux capabilities.")

    @model_validator(mode="after")
    def _privileged_may_escalate(self) -> Self:
        if self.privileged and self.allow_privilege_escalation is False:
            raise ValueError("allowPrivilegeEscalation false excludes privileged; remove one of them")
        return self


class PodSecurityContext(Identity):
    """Overrides of the pods' security context, field by field."""

    fs_group: UserId | None = Field(default=None, description="Group id, a number, that owns the volumes.")
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = Field(
        default=None, description="When the owner of a volume's files is changed."
    )
    supplemental_groups: tuple[UserId, ...] | None = Field(
        default=None, max_length=32, description="Further group ids, numbers."
    )
    supplemental_groups_policy: Literal["Merge", "Strict"] | None = Field(
        default=None, description="Merge: groups of the image count as well. Strict: they do not."
    )
