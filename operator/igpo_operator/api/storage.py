"""spec.storage: where checkpoints and the finished model live."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.formats import OPTIONAL_SUBDOMAIN, ObjectName, Quantity, RelativePath
from igpo_trainer.spec.base import SpecModel

DEFAULT_SIZE: Final = "20Gi"
"""Size of the claim of a run that asks for neither a size nor an existing claim."""
AccessMode = Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]


class Storage(SpecModel):
    """The run's volume: a new claim, or an existing one that claimName names."""

    size: Quantity | None = Field(
        default=None, description=f"Size of the new claim, an amount such as 200Gi. Absent: {DEFAULT_SIZE}."
    )
    storage_class_name: Annotated[str, Field(max_length=253, pattern=OPTIONAL_SUBDOMAIN)] | None = Field(
        default=None,
        description="StorageClass of the new claim. Absent: the cluster's default. Empty: none, a volume that exists.",
    )
    access_modes: tuple[AccessMode, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        description="Access modes of the new claim; several workers need ReadWriteMany. Absent: ReadWriteOnce.",
    )
    claim_name: ObjectName | None = Field(
        default=None,
        description="An existing claim instead of a new one. Several runs may share it: each has its own folder.",
    )
    retain_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What happens to the claim when the run is deleted. Retain: the model stays. "
        "Delete: the claim goes with the run.",
    )
    sub_path: RelativePath | None = Field(
        default=None,
        description="Folder of the volume below which the run's own folder kind/name lies. Absent: the volume's root.",
    )

    @model_validator(mode="after")
    def _one_claim(self) -> Self:
        if self.claim_name is not None and (
            self.size is not None or self.storage_class_name is not None or self.access_modes is not None
        ):
            raise ValueError(
                "claimName uses a claim that exists; remove size, storageClassName and accessModes, or remove claimName"
            )
        if self.claim_name is not None and self.retain_policy == "Delete":
            raise ValueError("retainPolicy Delete is for claims that the operator made; set Retain or remove claimName")
        return self

    @model_validator(mode="after")
    def _one_pod_alone(self) -> Self:
        if len(self.access_modes or ()) > 1 and "ReadWriteOncePod" in self.claim_access_modes:
            raise ValueError("accessModes has ReadWriteOncePod, which excludes all others; keep one of them")
        return self

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.size is not None and not str(self.size).lstrip("0.")[:1].isdigit():
            raise ValueError(f"size {self.size} is no room at all; set an amount such as 200Gi")
        return self

    @property
    def claim_size(self) -> str:
        """Size that a new claim asks for."""
        return DEFAULT_SIZE if self.size is None else str(self.size)

    @property
    def claim_access_modes(self) -> tuple[AccessMode, ...]:
        """Access modes that a new claim asks for."""
        return self.access_modes or ("ReadWriteOnce",)
