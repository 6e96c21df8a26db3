"""One reconcile in hand: the picture, the terms, the moment; and the step that a branch answers with."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from igpo_operator.api.reasons import Reason, Stage
from igpo_operator.api.spec import RunResource
from igpo_operator.api.status import AttemptStatus, Replicas, Resolved, RunStatus
from igpo_operator.plan.actions import Action, DeletePod
from igpo_operator.plan.conditions import View
from igpo_operator.plan.gang import Gang, over
from igpo_operator.plan.observed import Observed, Pod
from igpo_operator.plan.terms import Terms


@dataclass(frozen=True, slots=True)
class Scene:
    """What every branch of the phase machine looks at."""

    observed: Observed
    resource: RunResource
    terms: Terms
    now: datetime
    """Whole seconds, as status keeps them."""

    @property
    def status(self) -> RunStatus:
        """As stored: what may be acted on."""
        return self.observed.run.status

    @property
    def resolved(self) -> Resolved:
        """Provenance; there once an attempt has been recorded."""
        if self.status.resolved is None:
            raise ValueError(f"run {self.observed.run.key} has an attempt but no status.resolved; begin anew")
        return self.status.resolved

    def gang(self, attempt: AttemptStatus) -> Gang:
        """Pods of an attempt."""
        return Gang.of(self.observed.pods, attempt.number, self.size(attempt))

    def size(self, attempt: AttemptStatus) -> int:
        """How many pods an attempt has."""
        return 1 if attempt.stage is Stage.REWRITING else self.terms.replicas

    def other_pods(self, attempt: AttemptStatus) -> tuple[Pod, ...]:
        """Pods of every other attempt."""
        return tuple(pod for pod in self.observed.pods if pod.attempt != attempt.number)


@dataclass(frozen=True, slots=True)
class Admission:
    """Condition Admitted."""

    value: bool
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a branch wants."""

    status: RunStatus
    """Without phase, message and conditions, which follow from view."""
    view: View
    actions: tuple[Action, ...] = ()
    requeue_at: datetime | None = None
    admission: Admission | None = None
    """None: leave the condition as it is."""


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of some moments."""
    return min((moment for moment in moments if moment is not None), default=None)


def replicas(gang: Gang) -> Replicas:
    """Counts of a gang."""
    return Replicas(desired=gang.size, running=gang.running, finished=gang.finished)


def delete_unfinished(pods: Iterable[Pod]) -> tuple[DeletePod, ...]:
    """Delete the pods of which anything still runs, sidecars too; finished ones stay for their logs."""
    return tuple(DeletePod(pod.name, pod.uid) for pod in pods if not over(pod) and pod.deleted_at is None)


def delete_all(pods: Iterable[Pod]) -> tuple[DeletePod, ...]:
    """Delete pods, finished or not."""
    return tuple(DeletePod(pod.name, pod.uid) for pod in pods if pod.deleted_at is None)
