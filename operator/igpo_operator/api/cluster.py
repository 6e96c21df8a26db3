"""The fields of spec that only a cluster reads."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from igpo_operator.api.formats import IMAGE
from igpo_operator.api.run_policy import RunPolicy
from igpo_operator.api.storage import Storage
from igpo_operator.api.workers import Workers
from igpo_trainer.spec.base import SpecModel

MANAGER: Final = "igpo.dev/operator"
"""managedBy of the runs that this operator looks after; it leaves all others alone."""


class ClusterSpec(SpecModel):
    """Cluster fields of both kinds."""

    image: Annotated[str, Field(max_length=512, pattern=IMAGE)] = Field(
        default="", description="Trainer image. Empty: the operator's own, fixed at the first attempt."
    )
    workers: Workers = Field(default_factory=Workers, description="Processes of the run; its pods on a cluster.")
    storage: Storage = Field(default_factory=Storage, description="Volume for checkpoints and the finished model.")
    run_policy: RunPolicy = Field(default_factory=RunPolicy, description="Retries, deadlines and the queue.")
    managed_by: Literal["igpo.dev/operator", "kueue.x-k8s.io/multikueue"] = Field(
        default=MANAGER,
        description="Who runs it. With kueue.x-k8s.io/multikueue this cluster's operator does nothing at all.",
    )

    @model_validator(mode="after")
    def _several_workers_share_a_volume(self) -> Self:
        shared = self.storage.claim_name is not None or "ReadWriteMany" in self.storage.claim_access_modes
        if self.workers.replicas > 1 and not shared:
            raise ValueError(
                f"workers.replicas {self.workers.replicas} needs a volume that several nodes can write; set "
                "storage.accessModes: [ReadWriteMany] (and a class that offers it) or storage.claimName"
            )
        return self
