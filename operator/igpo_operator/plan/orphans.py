"""Pods whose run is gone: garbage collection deletes them, and Kueue must hear that none replaces them."""

from collections.abc import Sequence

from igpo_operator.plan.actions import Action
from igpo_operator.plan.observed import Pod
from igpo_operator.plan.queueing import give_back


def plan_orphan(pods: Sequence[Pod]) -> tuple[Action, ...]:
    """What to do for pods whose owner (by UID) does not exist or is being deleted; found from the pods alone."""
    return give_back(pod for pod in pods if pod.deleted_at is not None)
