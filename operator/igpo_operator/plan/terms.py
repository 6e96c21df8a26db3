"""What planning needs to know of a spec: few numbers and names, in one flat value."""

from dataclasses import dataclass
from typing import Final

from igpo_operator.api.spec import RunResource
from igpo_trainer.spec.document import Spec
from igpo_trainer.spec.identity import spec_hash
from igpo_trainer.spec.model import CheckpointSource
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

_REWRITE_INPUTS: Final = frozenset({"model", "dataset", "prompt", "rewrite", "length", "seed"})
"""Fields of spec that rewrites depend on: the rows, what the teacher is asked, the tokenizer and the canvas."""


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
    rewrite_hash: str | None = None
    """What rewrites depend on; None without spec.rewrite."""

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
            rewrite_hash=_rewrite_hash(trainer),
        )


def _rewrite_hash(spec: Spec) -> str | None:
    if not isinstance(spec, LengthAlignedSFTSpec) or spec.rewrite is None:
        return None
    fields = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=set(_REWRITE_INPUTS))
    return spec_hash({"spec": fields})
