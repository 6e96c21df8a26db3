"""Pods that are being deleted and do not go away."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from igpo_operator.plan.actions import DeletePod
from igpo_operator.plan.gang import stopped
from igpo_operator.plan.observed import Observed, Pod

OVERDUE: Final = timedelta(seconds=30)
"""Time after deletionTimestamp in which a live kubelet has long reported the end."""
_LOOK_AGAIN: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Overdue:
    """What to do about the pods that should be gone."""

    forced: tuple[DeletePod, ...] = ()
    message: str = ""
    """For a person; empty when nothing is overdue."""
    requeue_at: datetime | None = None


def overdue(
    observed: Observed, pods: tuple[Pod, ...], force_after: int | None, now: datetime, *, stopped_too: bool = False
) -> Overdue:
    """Force what is on a node that is not ready or gone, or what forceDeleteAfterSeconds allows; name the others.

    force_after: seconds since the grace period was over. stopped_too: clear away pods of which nothing runs as well.
    """
    forced: list[DeletePod] = []
    words: list[str] = []
    moments: list[datetime] = []
    for pod in pods:
        if pod.gone_by is None or (stopped(pod) and not stopped_too):
            continue
        limit = None if force_after is None else pod.gone_by + timedelta(seconds=force_after)
        due = pod.gone_by + OVERDUE
        if limit is not None and now >= limit:
            forced.append(DeletePod(pod.name, pod.uid, grace_seconds=0))
            words.append(
                f"pod {pod.name} on node {pod.node} did not stop and is removed by force after {force_after} s"
            )
        elif now < due:
            moments.append(due)
        elif observed.node_ready.get(pod.node or "") is False:
            forced.append(DeletePod(pod.name, pod.uid, grace_seconds=0))
            words.append(f"node {pod.node} is not ready or gone; its pod {pod.name} is removed by force")
        else:
            words.append(_stuck(pod, observed))
            moments.append(now + _LOOK_AGAIN)
        if limit is not None and now < limit:
            moments.append(limit)
    return Overdue(tuple(forced), "; ".join(words), min(moments, default=None))


def _stuck(pod: Pod, observed: Observed) -> str:
    hint = "" if observed.facts.may_read_nodes else " (the operator may not look at nodes)"
    return (
        f"pod {pod.name} on node {pod.node} should have stopped{hint}; look at the node, "
        "or set runPolicy.forceDeleteAfterSeconds"
    )
