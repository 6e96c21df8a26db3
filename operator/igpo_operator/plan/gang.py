"""The pods of one attempt as one thing: who is missing, runs, has finished, has stopped."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from igpo_operator.plan.observed import Pod, Running, Terminated


def stopped(pod: Pod) -> bool:
    """Whether nothing of the trainer runs in the pod, now or ever again.

    A pod that is being deleted before it was placed counts: the API server binds no such pod to a node, but a
    finalizer (Kueue's) may keep it there.
    """
    return pod.terminal or (pod.deleted_at is not None and pod.node is None)


def finished(pod: Pod) -> bool:
    """Whether the trainer ended with 0."""
    if isinstance(pod.trainer, Terminated):
        return pod.trainer.exit_code == 0
    return pod.phase == "Succeeded"


def over(pod: Pod) -> bool:
    """Whether the whole pod has ended, sidecars too. The phase alone would not do: kubelet writes it a moment later."""
    return pod.phase in ("Succeeded", "Failed") or (isinstance(pod.trainer, Terminated) and not pod.accompanied)


@dataclass(frozen=True, slots=True)
class Gang:
    """Pods of one attempt, by rank."""

    attempt: int
    size: int
    pods: tuple[Pod, ...]

    @classmethod
    def of(cls, pods: Iterable[Pod], attempt: int, size: int) -> "Gang":
        """Take the attempt's pods out of all those of a run."""
        ours = sorted((pod for pod in pods if pod.attempt == attempt), key=lambda pod: (pod.rank, pod.name))
        return cls(attempt, size, tuple(ours))

    @property
    def missing(self) -> tuple[int, ...]:
        """Ranks without a pod."""
        there = {pod.rank for pod in self.pods}
        return tuple(rank for rank in range(self.size) if rank not in there)

    @property
    def gated(self) -> tuple[Pod, ...]:
        """Pods that a queue holds back."""
        return tuple(pod for pod in self.pods if pod.gates)

    @property
    def running(self) -> int:
        """How many trainers run."""
        return sum(isinstance(pod.trainer, Running) for pod in self.pods)

    @property
    def finished(self) -> int:
        """How many trainers ended with 0."""
        return sum(finished(pod) for pod in self.pods)

    @property
    def all_started(self) -> bool:
        """Whether every rank runs, or has run and ended with 0."""
        return not self.missing and self.running + self.finished >= self.size

    @property
    def all_finished(self) -> bool:
        """Whether every rank ended with 0."""
        return not self.missing and self.finished >= self.size

    @property
    def all_stopped(self) -> bool:
        """Whether no trainer runs any more; true without pods."""
        return all(stopped(pod) for pod in self.pods)

    @property
    def first_scheduled(self) -> datetime | None:
        """When the first pod got its node."""
        return min((pod.scheduled_at for pod in self.pods if pod.scheduled_at is not None), default=None)

    @property
    def last_started(self) -> datetime | None:
        """When the last of the running trainers started."""
        return max((pod.trainer.since for pod in self.pods if isinstance(pod.trainer, Running)), default=None)
