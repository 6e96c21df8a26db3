"""What planning needs to know of a spec: few numbers and names, in one flat value."""

from dataclasses import dataclass

from igpo_operator.api.spec import RunResource
from igpo_trainer.spec.model import CheckpointSource


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of a spec that decides what happens when; times in seconds."""

    replicas: int = 1
    suspend: bool = False
    image: str = ""
    queue_name: str = ""
    backoff_limit: int = 3
    active_deadline: int | None = None
    pre_running_deadline: int = 1800
    stall_timeout: int = 1800
    ttl: int | None = None
    force_delete_after: int | None = None
    source: CheckpointSource | None = None

    @classmethod
    def of(cls, resource: RunResource) -> "Terms":
        """Pick them from a parsed spec."""
        trainer, cluster = resource.trainer, resource.cluster
        policy = cluster.run_policy
        return cls(
            replicas=trainer.workers.replicas,
            suspend=trainer.suspend,
            image=cluster.image,
            queue_name=policy.queue_name,
            backoff_limit=policy.backoff_limit,
            active_deadline=policy.active_deadline_seconds,
            pre_running_deadline=policy.pre_running_deadline_seconds,
            stall_timeout=policy.stall_timeout_seconds,
            ttl=policy.ttl_seconds_after_finished,
            force_delete_after=policy.force_delete_after_seconds,
            source=trainer.model.from_,
        )
