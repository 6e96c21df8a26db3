"""spec.runPolicy: how often, how long and in which queue a run may try."""

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from igpo_operator.api.formats import OPTIONAL_LABEL, OPTIONAL_SUBDOMAIN
from igpo_trainer.spec.base import SpecModel

LONGEST_SECONDS: Final = 2**31 - 1
Seconds = Annotated[int, Field(ge=1, le=LONGEST_SECONDS)]
OptionalObjectName = Annotated[str, Field(max_length=253, pattern=OPTIONAL_SUBDOMAIN)]


class RunPolicy(SpecModel):
    """Retries, deadlines and the queue."""

    backoff_limit: int = Field(
        default=3,
        ge=0,
        le=100,
        description="Number of charged failures (crashes, out of memory, hangs) without a newer checkpoint in between "
        "that are retried. Evictions, preemptions and lost nodes are free.",
    )
    active_deadline_seconds: Seconds | None = Field(
        default=None,
        description="Longest running time of all attempts together, the rewriting of traces included, in seconds, "
        "without time in queues or suspended. Absent: no limit.",
    )
    pre_running_deadline_seconds: Seconds = Field(
        default=1800,
        description="Longest time, in seconds, from the first pod's placement until every pod runs. After it all "
        "pods are released and tried again later.",
    )
    stall_timeout_seconds: Seconds = Field(
        default=1800,
        description="Longest time without any progress, in seconds, before the gang counts as hung and is restarted.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=LONGEST_SECONDS,
        description="Time after the end, in seconds, until the pods and their services go. The run itself and its "
        "volume stay. Absent: never.",
    )
    termination_grace_period_seconds: int = Field(
        default=120,
        ge=10,
        le=86_400,
        description="Time, in seconds, that a stopped trainer has to save its state. Applies to the next attempt.",
    )
    force_delete_after_seconds: int | None = Field(
        default=None,
        ge=0,
        le=LONGEST_SECONDS,
        description="Time, in seconds from the end of its grace period, after which a pod that does not end is deleted "
        "by force. Absent: only on nodes that are known to be dead.",
    )
    queue_name: Annotated[str, Field(max_length=63, pattern=OPTIONAL_LABEL)] = Field(
        default="", description="Kueue LocalQueue in the run's namespace that the pods wait in; empty: none."
    )
    workload_priority_class_name: OptionalObjectName = Field(
        default="", description="Kueue WorkloadPriorityClass of the run; needs queueName. Empty: none."
    )
    priority_class_name: OptionalObjectName = Field(
        default="", description="PriorityClass of the pods; empty: the cluster's default."
    )

    @model_validator(mode="after")
    def _a_workload_priority_needs_a_queue(self) -> Self:
        if self.workload_priority_class_name and not self.queue_name:
            raise ValueError("workloadPriorityClassName belongs to Kueue; set queueName as well or remove it")
        return self
