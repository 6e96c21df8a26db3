"""What every object of an attempt is made from."""

from dataclasses import dataclass

from igpo_operator.api.kinds import Kind
from igpo_operator.api.reasons import Stage
from igpo_operator.api.spec import RunResource
from igpo_operator.api.status import Resolved
from igpo_operator.render.names import pod_name


@dataclass(frozen=True, slots=True)
class Gang:
    """One attempt of one run: its pods of equal shape, one for each worker, or the one that rewrites traces."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    resource: RunResource
    resolved: Resolved
    attempt: int
    linger_seconds: float
    stage: Stage = Stage.TRAINING

    @property
    def replicas(self) -> int:
        """Number of pods."""
        return 1 if self.rewrites else self.resource.cluster.workers.replicas

    @property
    def rewrites(self) -> bool:
        """Whether this is the pod that rewrites traces: alone, without GPUs, never in a queue."""
        return self.stage is Stage.REWRITING

    @property
    def processes(self) -> int:
        """Number of ranks in each pod: one a GPU, or one without any."""
        return max(1, self.resource.cluster.workers.gpus_per_worker)

    def pod_name(self, rank: int) -> str:
        """Name of a pod, which is its host name too."""
        return pod_name(self.kind, self.name, self.attempt, rank)
