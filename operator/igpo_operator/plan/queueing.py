"""Kueue: who holds the gang back, and when its quota is given back."""

from collections.abc import Iterable

from igpo_operator.api.reasons import EndClass
from igpo_operator.plan.actions import AnnotatePod
from igpo_operator.plan.observed import Pod
from igpo_operator.render.names import KUEUE_RETRIABLE_ANNOTATION


def leaves_queue(end_class: EndClass) -> bool:
    """Whether the next attempt, if any, queues anew: the gang gives its quota back while nothing could use it."""
    return end_class in (EndClass.SUSPENDED, EndClass.GANG_INCOMPLETE, EndClass.REFUSED)


def give_back(pods: Iterable[Pod]) -> tuple[AnnotatePod, ...]:
    """Tell Kueue that no replacement comes for these pods; without that a group holds its quota for ever."""
    return tuple(
        AnnotatePod(pod.name, pod.uid, {KUEUE_RETRIABLE_ANNOTATION: "false"})
        for pod in pods
        if pod.queued and pod.retriable != "false"
    )
